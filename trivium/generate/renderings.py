"""A prompt in the words of each model that reads it: a tuned expert its chat template, a base the plain text. The answers are the same.

The engine knows one rendering, which it counts and shares prefixes by. A reader whose model has another is wrapped: it reads its own prompt
when the engine has come to the end of its one, and from there on every token that is said, at positions of its own.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from trivium.core.types import num_common
from trivium.generate.readers import Piece, Reader


class Prompt(np.ndarray):
    """Ids of a prompt, (L,), which is an array like any other and knows how each model that reads it has it: `each`, ids by number."""

    each: tuple[np.ndarray, ...] = ()  # none of a part of a prompt

    @staticmethod
    def of(main: np.ndarray, each: Sequence[np.ndarray]) -> "Prompt":
        """A prompt that is `main` for the engine."""
        made = np.asarray(main).view(Prompt)
        made.each = tuple(each)
        return made


class Rendered:
    """A reader that gets other words for the prompts than the engine has. main, own: ids of each request, of the engine and its own."""

    def __init__(self, reader: Reader, main: Sequence[np.ndarray], own: Sequence[np.ndarray]) -> None:
        self.inner, self._main, self._own = reader, main, own
        self.rows, self.capacity, self.piece_tokens, self.how = reader.rows, reader.capacity, reader.piece_tokens, reader.how
        self.choose, self.end, self.renew, self.follow = reader.choose, reader.end, reader.renew, reader.follow
        self._request: dict[int, int] = {}  # whose row it is, or was
        self._read: dict[int, int] = {}  # how much of its own prompt a row has read

    def begin(self, row: int, end: int, source: int | None = None, shared: int = 0, *, request: int = 0) -> int | None:
        """See Reader. What its own prompt has in common with the source's is shared; the engine need not know how much that is."""
        own, common = self._own[request], 0
        if source is not None:
            common = min(num_common(own, self._own[self._request[source]]), self._read[source], len(own) - 1)
        has = self.inner.begin(row, end - len(self._main[request]) + len(own), source if common else None, common, request=request)
        if has is None:
            return None
        self._request[row], self._read[row] = request, has
        return shared

    def read(self, pieces: Sequence[Piece]) -> Tensor:
        """See Reader."""
        last = self.ready(pieces)
        return self.inner.read(last) if last else torch.empty(0, 0)

    def ready(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Read prompts up to their last tokens, in as many steps as that takes; left is one token of every row that says one."""
        ahead: list[Piece] = []
        last: list[Piece] = []
        for piece in pieces:
            request = self._request[piece.row]
            own, past = self._own[request], piece.start + len(piece.tokens) - len(self._main[request])
            if past < 0:
                continue
            tokens, start = piece.tokens[-1:], len(own) + past - 1
            if past == 0:
                tokens, read = own[-1:].tolist(), self._read[piece.row]
                ahead += [
                    Piece(piece.row, at, own[at : min(at + self.piece_tokens, start)].tolist(), is_last=False)
                    for at in range(read, start, self.piece_tokens)
                ]
                self._read[piece.row] = len(own)
            last.append(Piece(piece.row, start, tokens, is_last=True))
        for together in _portions(ahead, self.piece_tokens):
            self.inner.read(together)
        return last


def _portions(pieces: Sequence[Piece], most: int) -> Iterator[list[Piece]]:
    """The pieces in order, as many in a step as it may read tokens, and none of a row beside an earlier one of it."""
    portion: list[Piece] = []
    for piece in pieces:
        if portion and (portion[-1].row == piece.row or sum(len(each.tokens) for each in (*portion, piece)) > most):
            yield portion
            portion = []
        portion.append(piece)
    if portion:
        yield portion
