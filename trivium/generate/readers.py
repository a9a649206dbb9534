"""What the engine asks of a model: read these pieces of these rows, and say what comes next. In C++, or with the trainer's own module."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from trivium.generate.sampling import Sampling, Seen, choose, choose_natively
from trivium.nn.adapter import fingerprint
from trivium.nn.cache import Cache
from trivium.nn.model import Model
from trivium.nn.native.decoder import Decoder, Precision
from trivium.nn.native.library import loaded

Chosen = tuple[np.ndarray, np.ndarray]  # tokens (B,) int64, log-probs (B,) float32


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

    def read(self, pieces: Sequence[Piece]) -> Tensor:
        """Logits after each piece that is the last of its row, in order; (S, V). They may be overwritten by the next call."""
        ...

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """Give the row `target` the first `length` positions of `source`."""
        ...

    def renew(self) -> None:
        """The weights may have changed."""
        ...

    def choose(
        self, logits_SV: Tensor, sampling: Sampling, stream: int, request_S: np.ndarray, position_S: np.ndarray, seen: Seen | None
    ) -> Chosen:
        """Draw the next token of each."""
        ...


class NativeReader:
    """The kernels of nn/native: a row's logits are the same bits whatever is read beside it."""

    def __init__(self, model: Model, rows: int, capacity: int, most_tokens: int, precision: Precision) -> None:
        self.rows, self.capacity, self._model, self._weights = rows, capacity, model, fingerprint(model)
        self._decoder = Decoder(model.trunk, rows=rows, capacity=capacity, most_tokens=most_tokens, precision=precision)

    def read(self, pieces: Sequence[Piece]) -> Tensor:
        """See Reader."""
        tokens = np.array([token for piece in pieces for token in piece.tokens], np.int64)
        lengths = np.array([len(piece.tokens) for piece in pieces])
        ends = np.cumsum(lengths)
        starts = np.array([piece.start for piece in pieces]) - (ends - lengths)
        positions = np.arange(len(tokens)) + np.repeat(starts, lengths)
        rows = np.repeat([piece.row for piece in pieces], lengths)
        return self._decoder.step(tokens, rows, positions, ends[[piece.is_last for piece in pieces]] - 1)

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """See Reader."""
        self._decoder.copy_prefix(source, target, length)

    def renew(self) -> None:
        """See Reader. They are hashed, at about 9 GB/s: torch's version counters do not see what fused optimizers change."""
        weights = fingerprint(self._model)
        if weights != self._weights:
            self._decoder.repack()
        self._weights = weights

    def choose(
        self, logits_SV: Tensor, sampling: Sampling, stream: int, request_S: np.ndarray, position_S: np.ndarray, seen: Seen | None
    ) -> Chosen:
        """See Reader."""
        return choose_natively(loaded(), logits_SV, sampling, stream, request_S, position_S, seen)


class ModuleReader:
    """The trainer's own module on its own device. Pieces of one token go together, longer ones are padded to the longest."""

    def __init__(self, model: Model, rows: int, capacity: int) -> None:
        self.rows, self.capacity, self.trunk = rows, capacity, model.trunk
        self.device = next(model.parameters()).device
        self._cache = Cache(model.config, rows, capacity, model.trunk.compute_dtype, self.device)

    def read(self, pieces: Sequence[Piece]) -> Tensor:
        """See Reader."""
        hidden: dict[int, Tensor] = {}  # (D,) of each piece
        short, long = [[number for number, piece in enumerate(pieces) if (len(piece.tokens) == 1) is one] for one in (True, False)]
        with torch.inference_mode():
            for numbers in filter(None, (short, long)):
                hidden |= zip(numbers, self._hidden([pieces[number] for number in numbers]), strict=True)
            wanted = [hidden[number] for number, piece in enumerate(pieces) if piece.is_last]
            return self.trunk.logits(torch.stack(wanted)) if wanted else torch.empty(0, self.trunk.config.vocab_size)

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
        rows = [piece.row for piece in pieces]
        which = None if rows == list(range(self.rows)) else torch.tensor(rows, device=self.device)
        hidden_BLD = self.trunk(tokens, position, self._cache.move_to(position, rows_B=which, slot_BL=slot), self._cache)
        return hidden_BLD[torch.arange(len(pieces)), torch.tensor([len(piece.tokens) - 1 for piece in pieces])]

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """See Reader."""
        self._cache.copy_prefix(source, target, length)

    def renew(self) -> None:
        """See Reader: the module is the trainer's, so there is nothing to do."""

    def choose(
        self, logits_SV: Tensor, sampling: Sampling, stream: int, request_S: np.ndarray, position_S: np.ndarray, seen: Seen | None
    ) -> Chosen:
        """See Reader."""
        return choose(logits_SV, sampling, stream, request_S, position_S, seen)
