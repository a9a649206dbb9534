"""Several texts read in fixed proportions: whose turn a place is follows from the weights, which of its rows from the seed.

Weights are exact fractions, so the order of turns repeats after a period (the sum of the weights as whole numbers), and one period is
a table. Within it a turn goes to the text that is owed one and must get it soonest (earliest deadline first; Tijdeman 1980, "The
chairman assignment problem"; Steiner, Yeomans 1993), which keeps every count within 1 of its share at every place: |count - weight x n|
< 1. The usual rule, the turn to whom most is owed (Megatron's blending), drifts further with many texts (tests/data/test_mix.py).
Left out: chance. Which text comes next does not depend on the seed; which of its rows does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import gcd, lcm

import numpy as np

from trivium.core.errors import ConfigError
from trivium.core.types import Example, Group
from trivium.data.ngrams import Stream
from trivium.data.sources import Span, TextSource, groups_at

MAX_PERIOD = 100_000  # places: what weights of five digits need


def turns(weights: Mapping[str, float]) -> np.ndarray:
    """Whose turn each place of a period is, (period,) int64, numbers in the order of the weights; the period repeats without end.

    Raises ConfigError if the weights have so many digits that a period is longer than 100,000 places.
    """
    exact = [Fraction(repr(weight)) for weight in weights.values()]  # 0.1 is a tenth, not the binary number next to it
    scale = lcm(*(weight.denominator for weight in exact))
    whole = [int(weight * scale) for weight in exact]
    common = gcd(*whole)
    shares = [share // common for share in whole]
    period = sum(shares)
    if period > MAX_PERIOD:
        written = ", ".join(f"{name} {weight}" for name, weight in weights.items())
        raise ConfigError(
            f"the weights ({written}) repeat only after {period:,} rows, at most {MAX_PERIOD:,} are allowed; write them with fewer digits"
        )
    given = [0] * len(shares)
    order = np.empty(period, np.int64)
    for place in range(period):
        owed = [number for number, share in enumerate(shares) if share * (place + 1) > given[number] * period]
        order[place] = chosen = min(owed, key=lambda number: -(-(given[number] + 1) * period // shares[number]))
        given[chosen] += 1
    return order


class Mix:
    """Texts with weights as one source; a row of it is a row of one of them, numbered after those of the texts before it.

    sources: by name, all with the same seq_len, and each with an order of its own; their rows_per_step is not used. skip: by name, at which
    place of its order a text begins, if not at the first: what an earlier training has read is not read again before the rest.
    """

    def __init__(
        self, sources: Mapping[str, TextSource], weights: Mapping[str, float], *, rows_per_step: int, skip: Mapping[str, int] | None = None
    ) -> None:
        self.sources, self.rows_per_step = list(sources.values()), rows_per_step
        self.seq_len = self.sources[0].seq_len
        self._first_row = np.cumsum([0, *(source.num_rows for source in self.sources)])  # (texts + 1,)
        self.num_rows = int(self._first_row[-1])
        self.filled = sum(source.filled * source.num_rows for source in self.sources) / self.num_rows
        self.streams: Sequence[Stream] = [stream for source in self.sources for stream in source.streams]
        self._skip = [(skip or {}).get(name, 0) for name in sources]
        self._turns = turns({name: weights[name] for name in sources})
        is_turn = self._turns[None, :] == np.arange(len(self.sources))[:, None]
        self._before = np.pad(np.cumsum(is_turn, axis=1), ((0, 0), (1, 0)))  # (texts, period + 1): turns of each before a place
        self._places = [np.flatnonzero(row) for row in is_turn]

    def counts_at(self, place: int) -> np.ndarray:
        """How many of the first `place` rows come from each text, (texts,) int64."""
        periods, rest = divmod(place, len(self._turns))
        return periods * self._before[:, -1] + self._before[:, rest]

    def rows_at(self, first: int, count: int) -> np.ndarray:
        """The rows at places first .. first + count - 1 of the order of training."""
        whose = self._turns[np.arange(first, first + count) % len(self._turns)]
        rows = np.empty(count, np.int64)
        starts, ends = self.counts_at(first), self.counts_at(first + count)
        for number, source in enumerate(self.sources):
            if ends[number] > starts[number]:
                its = source.rows_at(self._skip[number] + int(starts[number]), int(ends[number] - starts[number]))
                rows[whose == number] = self._first_row[number] + its
        return rows

    def places_of(self, rows: np.ndarray, last: int) -> np.ndarray:
        """Every place below `last` that holds one of these rows, ascending."""
        whose, found = self._whose(rows), [np.empty(0, np.int64)]
        for number, source in enumerate(self.sources):
            skip = self._skip[number]
            its = source.places_of(rows[whose == number] - self._first_row[number], skip + int(self.counts_at(last)[number])) - skip
            its = its[its >= 0]
            periods, rest = np.divmod(its, len(self._places[number]))
            found.append(periods * len(self._turns) + self._places[number][rest])
        return np.sort(np.concatenate(found))

    def row(self, number: int) -> Example:
        """One row of one of the texts."""
        text = int(self._whose(np.array(number)))
        return self.sources[text].row(number - int(self._first_row[text]))

    def spans(self, number: int) -> list[Span]:
        """What of the texts one row holds."""
        text = int(self._whose(np.array(number)))
        return [replace(span, stream=text) for span in self.sources[text].spans(number - int(self._first_row[text]))]

    def rows_with(self, span: Span) -> np.ndarray:
        """The rows that hold a token of a span."""
        return self._first_row[span.stream] + self.sources[span.stream].rows_with(replace(span, stream=0))

    def __call__(self, step: int) -> list[Group]:
        """The groups of step n."""
        return groups_at(self, step)

    def _whose(self, rows: np.ndarray) -> np.ndarray:
        """The text that each row is of."""
        return np.searchsorted(self._first_row, rows, side="right") - 1
