"""Sources: what step n trains on is a function of n, so a run resumes by knowing n."""

from collections.abc import Callable, Sequence

import numpy as np

from trivium.core.errors import DataError
from trivium.core.types import Example, Group
from trivium.data.order import epoch_rows

Source = Callable[[int], Sequence[Group]]


class Corpus:
    """Rows of `seq_len` tokens of one long stream, `rows_per_step` a step, each epoch in another order.

    Neighbouring rows share one token (the last of one is the first of the next), so every token is predicted exactly once an epoch.
    """

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
