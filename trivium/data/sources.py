"""Sources: what step n trains on is a function of n, so a run resumes by knowing n."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from trivium.core.errors import DataError
from trivium.core.types import Example, Group
from trivium.data.best_fit import Pieces, best_fit
from trivium.data.order import epoch_rows

Source = Callable[[int], Sequence[Group]]
Packing = Literal["stream", "bestfit"]


class Corpus:
    """Rows of `seq_len` tokens of one long stream, `rows_per_step` a step, each epoch in another order.

    Neighbouring rows share one token (the last of one is the first of the next), so every token is predicted exactly once an epoch.
    """

    filled = 1.0  # the share of all rows that is no padding

    def __init__(self, tokens: np.ndarray, *, seq_len: int, rows_per_step: int, seed: int) -> None:
        self.tokens, self.seq_len, self.rows_per_step, self.seed = tokens, seq_len, rows_per_step, seed
        self.num_rows = (len(tokens) - 1) // (seq_len - 1)
        if self.num_rows < 1:
            raise DataError(f"the corpus has {len(tokens):,} tokens, fewer than one row of {seq_len:,}; lower seq_len or add text")

    def rows_of(self, step: int) -> np.ndarray:
        """Which rows of the stream step n reads."""
        return epoch_rows(step * self.rows_per_step, self.rows_per_step, self.num_rows, self.seed, "corpus")

    def row(self, number: int) -> Example:
        """One row of the stream; every token but the first counts."""
        start = number * (self.seq_len - 1)
        mask = np.ones(self.seq_len, np.float32)
        mask[0] = 0
        return Example(np.asarray(self.tokens[start : start + self.seq_len], np.int32), mask)

    def __call__(self, step: int) -> list[Group]:
        """The groups of step n."""
        return [(self.row(int(number)),) for number in self.rows_of(step)]


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
        row_P = best_fit(self.pieces.length_P, seq_len)
        self.order_P = np.lexsort((~self.pieces.is_rest_P, row_P))  # pieces by row, rests first
        self.first_R = np.searchsorted(row_P[self.order_P], np.arange(row_P.max() + 2))
        self.num_rows = len(self.first_R) - 1

    @property
    def filled(self) -> float:
        """The share of all rows that is no padding."""
        return float(self.pieces.length_P.sum()) / (self.num_rows * self.seq_len)

    def rows_of(self, step: int) -> np.ndarray:
        """Which rows step n reads."""
        return epoch_rows(step * self.rows_per_step, self.rows_per_step, self.num_rows, self.seed, "documents")

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
        return [(self.row(int(number)),) for number in self.rows_of(step)]


def corpus(
    tokens: np.ndarray, starts: np.ndarray, packing: Packing, *, seq_len: int, rows_per_step: int, seed: int
) -> Corpus | Documents:  # fmt: skip
    """The rows of pre-training: cut from the stream, or made of whole documents."""
    if packing == "stream":
        return Corpus(tokens, seq_len=seq_len, rows_per_step=rows_per_step, seed=seed)
    return Documents(tokens, starts, seq_len=seq_len, rows_per_step=rows_per_step, seed=seed)


class Groups:
    """A list of groups (demonstrations, pairs, rankings), `groups_per_step` a step, each epoch in another order."""

    def __init__(self, groups: Sequence[Group], *, groups_per_step: int, seed: int, purpose: str) -> None:
        if not groups:
            raise DataError(f"there is nothing to train on: no {purpose} left after reading and filtering")
        self.groups, self.groups_per_step, self.seed, self.purpose = groups, groups_per_step, seed, purpose

    def __call__(self, step: int) -> list[Group]:
        """The groups of step n."""
        rows = epoch_rows(step * self.groups_per_step, self.groups_per_step, len(self.groups), self.seed, self.purpose)
        return [self.groups[row] for row in rows]
