"""Sources: what step n trains on is a function of n, so a run resumes by knowing n."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from trivium.core.errors import DataError
from trivium.core.types import Example, Group, example
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
    filled: float  # the share of all rows that is no padding
    streams: Sequence[Stream]  # the tokens that spans point into

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


def groups_at(source: TextSource, step: int) -> list[Group]:
    """The rows of step n, each a group of its own."""
    return [(source.row(int(number)),) for number in source.rows_at(step * source.rows_per_step, source.rows_per_step)]


class Corpus:
    """Rows of `seq_len` tokens of one long stream, `rows_per_step` a step, each epoch in another order.

    Neighbouring rows share one token (the last of one is the first of the next), so every token is predicted exactly once an epoch.
    purpose: what the order is for; another purpose has another order of the same text.
    """

    filled = 1.0

    def __init__(self, tokens: np.ndarray, *, seq_len: int, rows_per_step: int, seed: int, purpose: str = "corpus") -> None:
        self.tokens, self.seq_len, self.rows_per_step, self.seed, self.purpose = tokens, seq_len, rows_per_step, seed, purpose
        self.streams: Sequence[Stream] = (tokens,)
        self.num_rows = (len(tokens) - 1) // (seq_len - 1)
        if self.num_rows < 1:
            raise DataError(f"the corpus has {len(tokens):,} tokens, fewer than one row of {seq_len:,}; lower seq_len or add text")

    def rows_at(self, first: int, count: int) -> np.ndarray:
        """The rows at places first .. first + count - 1 of the order of training."""
        return epoch_rows(first, count, self.num_rows, self.seed, self.purpose)

    def places_of(self, rows: np.ndarray, last: int) -> np.ndarray:
        """Every place below `last` that holds one of these rows."""
        return epoch_places(rows, last, self.num_rows, self.seed, self.purpose)

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
        return example(self.tokens[start : start + self.seq_len])

    def __call__(self, step: int) -> list[Group]:
        """The groups of step n."""
        return groups_at(self, step)


class Groups:
    """A list of groups (demonstrations, pairs, rankings), a portion of it a step, each epoch in another order.

    A step reads `groups_per_step` of them, or with tokens_per_step those that begin within so many tokens of the order of training, so that
    steps have that many on average; no group may be longer. epochs: how often each group is read in all, without end if 0; portions go on
    over the end of an epoch, and the last one is what is left.
    """

    def __init__(
        self, groups: Sequence[Group], *, seed: int, purpose: str, groups_per_step: int = 0, tokens_per_step: int = 0, epochs: float = 0.0
    ) -> None:  # fmt: skip
        if not groups:
            raise DataError(f"there is nothing to train on: no {purpose} left after reading and filtering")
        self.groups, self.groups_per_step, self.tokens_per_step, self.seed, self.purpose = (
            groups, groups_per_step, tokens_per_step, seed, purpose,
        )  # fmt: skip
        self.num_places = round(epochs * len(groups)) if epochs else None
        if self.num_places == 0:
            raise DataError(f"epochs={epochs:g} of {len(groups):,} {purpose} reads none of them; raise epochs, or give steps")
        self._lengths = np.array([sum(len(item.tokens) for item in group) for group in groups], np.int64)
        self._starts: dict[int, np.ndarray] = {}  # of the epochs that were asked for last

    @property
    def num_steps(self) -> int:
        """Steps until every group has been read `epochs` times."""
        if self.num_places is None:
            raise ValueError("a source without epochs has no end")
        if self.tokens_per_step:
            epoch, place = divmod(self.num_places - 1, len(self.groups))
            begins = epoch * int(self._lengths.sum()) + int(self._starts_in(epoch)[place])
            return begins // self.tokens_per_step + 1
        return -(-self.num_places // self.groups_per_step)

    def first_place(self, step: int) -> int:
        """Where step n begins, in groups since the start."""
        place = self._place_of_token(step * self.tokens_per_step) if self.tokens_per_step else step * self.groups_per_step
        return place if self.num_places is None else min(place, self.num_places)

    def read_within(self, steps: int) -> np.ndarray:
        """Which groups the first so many steps read, ascending."""
        return np.unique(epoch_rows(0, self.first_place(steps), len(self.groups), self.seed, self.purpose))

    def ends_epoch(self, step: int) -> bool:
        """Whether the last group of an epoch is read in step n."""
        return self.first_place(step + 1) // len(self.groups) > self.first_place(step) // len(self.groups)

    def __call__(self, step: int) -> list[Group]:
        """The groups of step n."""
        first = self.first_place(step)
        rows = epoch_rows(first, self.first_place(step + 1) - first, len(self.groups), self.seed, self.purpose)
        return [self.groups[row] for row in rows]

    def _place_of_token(self, token: int) -> int:
        """The first group that begins at this token of the order of training, or after it."""
        epoch, rest = divmod(token, int(self._lengths.sum()))
        return epoch * len(self.groups) + int(np.searchsorted(self._starts_in(epoch), rest))

    def _starts_in(self, epoch: int) -> np.ndarray:
        """Where each group of an epoch begins, in tokens since the epoch did; (groups,) int64."""
        if epoch not in self._starts:
            self._starts = {number: starts for number, starts in self._starts.items() if abs(number - epoch) <= 1}
            lengths = self._lengths[epoch_rows(epoch * len(self.groups), len(self.groups), len(self.groups), self.seed, self.purpose)]
            self._starts[epoch] = np.cumsum(lengths) - lengths
        return self._starts[epoch]
