"""Sources: what step n trains on is a function of n, so a run resumes by knowing n."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from trivium.core.errors import DataError
from trivium.core.types import Example, Group
from trivium.data.ngrams import Stream
from trivium.data.order import epoch_places, epoch_rows

Source = Callable[[int], Sequence[Group]]


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens start .. start + length - 1 of a stream; `at` is where in its row they stand."""

    start: int
    length: int
    stream: int = 0  # which text of a mixture
    at: int = 0

    @property
    def end(self) -> int:
        """The first token after it."""
        return self.start + self.length


class TextSource(Protocol):
    """A Source of pre-training, which can be asked both ways: what a step reads, and which steps read a token.

    Rows have numbers below num_rows, wherever they are read. Places count rows in the order of training, without end: place p is
    row p % rows_per_step of step p // rows_per_step, and both are numbered from 0.
    """

    seq_len: int
    rows_per_step: int
    num_rows: int

    @property
    def filled(self) -> float:
        """The share of all rows that is no padding."""
        ...

    @property
    def streams(self) -> Sequence[Stream]:
        """The tokens that spans point into."""
        ...

    def rows_at(self, first: int, count: int) -> np.ndarray:
        """The rows at places first .. first + count - 1, (count,) int64."""
        ...

    def places_of(self, rows: np.ndarray, last: int) -> np.ndarray:
        """Every place below `last` that holds one of these rows, ascending."""
        ...

    def row(self, number: int) -> Example:
        """One row."""
        ...

    def spans(self, number: int) -> list[Span]:
        """What of the streams one row holds, from left to right; padding is in none of them."""
        ...

    def rows_with(self, span: Span) -> np.ndarray:
        """The rows that hold at least one token of a span, ascending."""
        ...

    def __call__(self, step: int) -> list[Group]:
        """The groups of step n."""
        ...


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

    @property
    def streams(self) -> tuple[np.ndarray]:
        """The one text."""
        return (self.tokens,)

    def rows_at(self, first: int, count: int) -> np.ndarray:
        """The rows at places first .. first + count - 1 of the order of training."""
        return epoch_rows(first, count, self.num_rows, self.seed, "corpus")

    def rows_of(self, step: int) -> np.ndarray:
        """Which rows of the stream step n reads."""
        return self.rows_at(step * self.rows_per_step, self.rows_per_step)

    def places_of(self, rows: np.ndarray, last: int) -> np.ndarray:
        """Every place below `last` that holds one of these rows."""
        return epoch_places(rows, last, self.num_rows, self.seed, "corpus")

    def spans(self, number: int) -> list[Span]:
        """The part of the stream that a row is."""
        return [Span(number * (self.seq_len - 1), self.seq_len)]

    def rows_with(self, span: Span) -> np.ndarray:
        """The rows that hold a token of a span; two of them where it touches the token that neighbours share."""
        stride = self.seq_len - 1
        first, last = -(-(span.start - stride) // stride), (span.end - 1) // stride
        return np.arange(max(0, first), min(self.num_rows - 1, last) + 1)

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
