"""Rows of pre-training that are made of whole documents, and the choice between them and rows that are cut from the stream."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from trivium.core.errors import DataError
from trivium.core.types import Example, Group
from trivium.data.best_fit import Pieces, best_fit
from trivium.data.ngrams import Stream
from trivium.data.order import epoch_places, epoch_rows
from trivium.data.sources import Corpus, Span, groups_at

Packing = Literal["stream", "bestfit"]


class Documents:
    """Rows of `seq_len` tokens that hold whole documents side by side, `rows_per_step` a step, each epoch in another order.

    Which documents share a row is best_fit.py's; a document that is longer than a row goes on in others. starts: (documents + 1,)
    offsets in the stream, as a shard has them. Every token of an epoch is in a row, and all but the first of each row and of each
    rest of a document are predicted, exactly once. Rests stand at the beginning of a row; what is left at its end is padding that
    does not count. As in a stream, a token sees the documents before its own in the row.
    """

    def __init__(self, tokens: np.ndarray, starts: np.ndarray, *, seq_len: int, rows_per_step: int, seed: int) -> None:
        if not len(tokens):
            raise DataError("the corpus has no documents; add text")
        self.tokens, self.seq_len, self.rows_per_step, self.seed = tokens, seq_len, rows_per_step, seed
        self.pieces = Pieces.of(starts, seq_len)
        self.row_P = best_fit(self.pieces.length_P, seq_len)
        self.order_P = np.lexsort((~self.pieces.is_rest_P, self.row_P))  # pieces by row, rests first
        self.first_R = np.searchsorted(self.row_P[self.order_P], np.arange(self.row_P.max() + 2))
        self.num_rows = len(self.first_R) - 1
        self.filled = float(self.pieces.length_P.sum()) / (self.num_rows * seq_len)
        self.streams: Sequence[Stream] = (tokens,)

    def rows_at(self, first: int, count: int) -> np.ndarray:
        """The rows at places first .. first + count - 1 of the order of training."""
        return epoch_rows(first, count, self.num_rows, self.seed, "documents")

    def places_of(self, rows: np.ndarray, last: int) -> np.ndarray:
        """Every place below `last` that holds one of these rows."""
        return epoch_places(rows, last, self.num_rows, self.seed, "documents")

    def spans(self, number: int) -> list[Span]:
        """The pieces of a row."""
        pieces = self.order_P[self.first_R[number] : self.first_R[number + 1]]
        lengths = self.pieces.length_P[pieces]
        places = zip(self.pieces.start_P[pieces].tolist(), lengths.tolist(), (np.cumsum(lengths) - lengths).tolist(), strict=True)
        return [Span(start, length, at=at) for start, length, at in places]

    def rows_with(self, span: Span) -> np.ndarray:
        """The rows that hold a token of a span."""
        start_P, end_P = self.pieces.start_P, self.pieces.start_P + self.pieces.length_P  # both ascend
        first, last = np.searchsorted(end_P, span.start, side="right"), np.searchsorted(start_P, span.end)
        return np.unique(self.row_P[first:last])

    def row(self, number: int) -> Example:
        """One row; padding is what documents begin with."""
        row, mask, at = np.full(self.seq_len, self.tokens[0], np.int32), np.zeros(self.seq_len, np.float32), 0
        for piece in self.order_P[self.first_R[number] : self.first_R[number + 1]]:
            start, end = int(self.pieces.start_P[piece]), at + int(self.pieces.length_P[piece])
            row[at:end], mask[at:end] = self.tokens[start : start + end - at], 1
            mask[at] = float(at > 0 and not self.pieces.is_rest_P[piece])
            at = end
        return Example(row, mask)

    def __call__(self, step: int) -> list[Group]:
        """The groups of step n."""
        return groups_at(self, step)


def corpus(
    tokens: np.ndarray, starts: np.ndarray, packing: Packing, *, seq_len: int, rows_per_step: int, seed: int
) -> Corpus | Documents:  # fmt: skip
    """The rows of pre-training: cut from the stream, or made of whole documents."""
    if packing == "stream":
        return Corpus(tokens, seq_len=seq_len, rows_per_step=rows_per_step, seed=seed)
    return Documents(tokens, starts, seq_len=seq_len, rows_per_step=rows_per_step, seed=seed)
