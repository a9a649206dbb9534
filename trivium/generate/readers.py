"""What the engine asks of a model: read these pieces of these rows, and say what comes next. In C++, or with the trainer's own module."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from trivium.core.errors import ResourceError
from trivium.core.world import memory_bytes
from trivium.generate.sampling import Choose, choose, choose_natively
from trivium.nn.adapter import fingerprint
from trivium.nn.cache import Cache, cache_bytes, visible
from trivium.nn.decode import CastCopy, NextTokens, why_not_fixed
from trivium.nn.model import Model
from trivium.nn.native.decoder import Decoder, Precision, Read
from trivium.nn.native.library import loaded
from trivium.nn.pages import PAGE, PagedCache
from trivium.nn.transformer import AnyCache

PIECE_TOKENS = 256  # of prompts, that one step reads beside the new tokens: more would make the others wait
GPU_PIECE_TOKENS = 4096  # which a GPU reads in the time of a few new tokens


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens of a row from position `start` on. is_last: the row's newest token is among them, so the next one is wanted."""

    row: int
    start: int
    tokens: Sequence[int]
    is_last: bool


class Reader(Protocol):
    """Rows of keys and values, and the model that fills them."""

    rows: int
    capacity: int  # positions of a row
    piece_tokens: int  # of prompts, that one step should read at most
    how: str  # it works, in a few words, and why not faster
    choose: Choose  # draws the next token of each

    def read(self, pieces: Sequence[Piece]) -> Tensor:
        """Logits after each piece that is the last of its row, in order; (S, V). They may be overwritten by the next call."""
        ...

    def begin(self, row: int, end: int, source: int | None = None, shared: int = 0, *, request: int = 0) -> int | None:
        """Make a row ready for `end` positions, of which the first `shared` are those of the row `source`.

        request: whose row it is, for a reader that has other words for it. Returns how many of the positions it has, shared or 0; None
        if there is no room before others end.
        """
        ...

    def end(self, row: int) -> None:
        """The sequence of a row has ended; it may still be the source of others."""
        ...

    def renew(self) -> None:
        """The weights may have changed; every row is free."""
        ...

    def follow(self) -> None:
        """The weights have changed; rows in use go on with the keys and values that they have."""
        ...


class NativeReader:
    """The kernels of nn/native: a row's logits are the same bits whatever is read beside it."""

    def __init__(self, model: Model, rows: int, capacity: int, precision: Precision) -> None:
        self.rows, self.capacity, self._model, self._weights, self._precision = rows, capacity, model, fingerprint(model), precision
        self.piece_tokens, self.how = PIECE_TOKENS, f"sampling with our kernels, weights in {precision}"
        most_tokens = rows + self.piece_tokens
        self.choose: Choose = partial(choose_natively, loaded())
        self._decoder = Decoder(model.trunk, rows=rows, capacity=capacity, most_tokens=most_tokens, precision=precision)

    def read(self, pieces: Sequence[Piece]) -> Tensor:
        """See Reader."""
        return self._decoder.step(*self._arrays(pieces))

    def is_twin_of(self, other: Reader) -> bool:
        """Whether both have a model of the same shape in the same precision, so that they take equal times."""
        return isinstance(other, NativeReader) and self._model.config == other._model.config and self._precision == other._precision

    def read_beside(self, other: "NativeReader", pieces: Sequence[Piece], others: Sequence[Piece]) -> tuple[Tensor, Tensor]:
        """What `read` gives of these pieces, and of those that the other reads at the same time, each on half of the threads."""
        return self._decoder.step_beside(other._decoder, self._arrays(pieces), other._arrays(others))

    def _arrays(self, pieces: Sequence[Piece]) -> Read:
        """The pieces as a step of the decoder has them."""
        tokens = np.array([token for piece in pieces for token in piece.tokens], np.int64)
        lengths = np.array([len(piece.tokens) for piece in pieces])
        ends = np.cumsum(lengths)
        starts = np.array([piece.start for piece in pieces]) - (ends - lengths)
        positions = np.arange(len(tokens)) + np.repeat(starts, lengths)
        rows = np.repeat([piece.row for piece in pieces], lengths)
        return tokens, rows, positions, ends[[piece.is_last for piece in pieces]] - 1

    def begin(self, row: int, end: int, source: int | None = None, shared: int = 0, *, request: int = 0) -> int | None:
        """See Reader."""
        if source is not None and source != row:
            self._decoder.copy_prefix(source, row, shared)
        return shared

    def end(self, row: int) -> None:
        """See Reader."""

    def renew(self) -> None:
        """See Reader. They are hashed, at about 9 GB/s: torch's version counters do not see what fused optimizers change."""
        weights = fingerprint(self._model)
        if weights != self._weights:
            self._decoder.repack()
        self._weights = weights

    def follow(self) -> None:
        """See Reader."""
        self.renew()


class ModuleReader:
    """The trainer's own module on its own device, or on a GPU in 16 bits a copy of its matrices that is cast once.

    Pieces of about the same length go together, padded to the longest. On a GPU one token of every row is a step of fixed shape, a
    CUDA graph. If whole rows of keys and values need more than half of the memory that is free, they lie in pages, which is slower
    (nn/pages.py). Raises ResourceError if not even one row fits.
    """

    def __init__(self, model: Model, rows: int, capacity: int) -> None:
        trunk, self.device = model.trunk, model.device
        self.choose: Choose = choose
        reason = why_not_fixed(trunk)
        self.piece_tokens = GPU_PIECE_TOKENS if self.device.type == "cuda" else PIECE_TOKENS
        self.rows, self.capacity = rows, -(-capacity // PAGE) * PAGE
        self._cache = cache_within(free_bytes(self.device) // 2, model, rows, self.capacity)
        self._copy = CastCopy(trunk) if reason is None and trunk.compute_dtype != trunk.embed.weight.dtype else None
        self.trunk = trunk if self._copy is None else self._copy.trunk
        self._next = NextTokens(self.trunk, self._cache, rows, self.capacity) if reason is None else None
        steps = "one token of every row a CUDA graph" if reason is None else f"steps of any shape, since {reason}"
        self.how = f"sampling with torch on {self.device.type}: {steps}"
        if isinstance(self._cache, PagedCache):
            self.how += "; keys and values in pages, which is slower: whole rows do not fit into half of the memory that is free"

    def read(self, pieces: Sequence[Piece]) -> Tensor:
        """See Reader."""
        groups: dict[int, list[int]] = {}  # less than half of a group is padding
        for number, piece in enumerate(pieces):
            groups.setdefault((len(piece.tokens) - 1).bit_length(), []).append(number)
        numbers, found = [], []
        with torch.inference_mode():
            for size, members in groups.items():
                wanted = [place for place, number in enumerate(members) if pieces[number].is_last]
                logits = self._logits([pieces[number] for number in members], wanted, is_next=size == 0)
                numbers += [members[place] for place in wanted]
                found.append(logits)
            if numbers == sorted(numbers):
                return found[0] if len(found) == 1 else torch.cat(found)
            return torch.cat(found)[torch.from_numpy(np.argsort(numbers)).to(self.device)]

    def _logits(self, pieces: Sequence[Piece], wanted: Sequence[int], *, is_next: bool) -> Tensor:
        """Logits after the wanted ones of these pieces, (S, V)."""
        if not is_next or self._next is None:
            hidden_BD = self._hidden(pieces)
            return self.trunk.logits(hidden_BD if len(wanted) == len(pieces) else hidden_BD[list(wanted)])
        rows = [piece.row for piece in pieces]
        logits = self._next(rows, [piece.tokens[0] for piece in pieces], [piece.start for piece in pieces])
        speaking = [rows[place] for place in wanted]
        return logits if speaking == list(range(self.rows)) else logits[speaking]

    def _hidden(self, pieces: Sequence[Piece]) -> Tensor:
        """The state after the last token of each piece, (B, D)."""
        longest = max(len(piece.tokens) for piece in pieces)
        tokens_BL, position_BL = np.zeros((len(pieces), longest), np.int64), np.zeros((len(pieces), longest), np.int64)
        slot_BL = np.full((len(pieces), longest), self.capacity)  # padding is written where nobody looks
        for number, piece in enumerate(pieces):
            size = len(piece.tokens)
            tokens_BL[number, :size] = piece.tokens
            position_BL[number, :size] = slot_BL[number, :size] = np.arange(piece.start, piece.start + size)
        tokens, position, slot = (torch.from_numpy(array).to(self.device) for array in (tokens_BL, position_BL, slot_BL))
        rows, most = [piece.row for piece in pieces], visible(int(position_BL.max()) + 1, self.capacity)
        which = None if rows == list(range(self.rows)) else torch.tensor(rows, device=self.device)
        mask = self._cache.move_to(position, rows_B=which, slot_BL=slot, visible=most)
        hidden_BLD = self.trunk(tokens, position, mask, self._cache)
        return hidden_BLD[torch.arange(len(pieces)), torch.tensor([len(piece.tokens) - 1 for piece in pieces])]

    def begin(self, row: int, end: int, source: int | None = None, shared: int = 0, *, request: int = 0) -> int | None:
        """See Reader."""
        return self._cache.begin(row, end, source, shared)

    def end(self, row: int) -> None:
        """See Reader."""
        self._cache.end(row)

    def renew(self) -> None:
        """See Reader: the module is the trainer's, so only copies and recordings have to follow. No row is in use any more."""
        for row in range(self.rows):
            self._cache.end(row)
        self.follow()

    def follow(self) -> None:
        """See Reader."""
        if self._copy is not None:
            self._copy.refresh()
        if self._next is not None:
            self._next.follow()


def free_bytes(device: torch.device) -> int:
    """Memory of the device that nobody holds, kept by torch for later counted as free; of a CPU all memory there is."""
    if device.type != "cuda":
        return memory_bytes()
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def cache_within(most_bytes: int, model: Model, rows: int, capacity: int) -> AnyCache:
    """Whole rows if they fit, else pages. Raises ResourceError if a row does not."""
    config, dtype = model.config, model.trunk.compute_dtype
    if cache_bytes(config, rows * (capacity + 1), dtype) <= most_bytes:
        return Cache(config, rows, capacity, dtype, model.device)
    pages = most_bytes // cache_bytes(config, PAGE, dtype) - 1  # one is for padding
    if pages * PAGE < capacity:
        needed = cache_bytes(config, capacity, dtype)
        raise ResourceError(
            f"keys and values of one row of {capacity:,} positions take {needed / 2**30:.2f} GiB, and there is room for"
            f" {most_bytes / 2**30:.2f}; lower max_new_tokens, shorten the prompts, or take a smaller model"
        )
    return PagedCache(config, rows, capacity, pages, dtype, model.device)
