"""Does the order of training influence what is known by heart? Rows that are arrive like a homogeneous Poisson process if it does not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.core.seeds import generator
from trivium.report.correlation import correlation, ranks, spearman
from trivium.report.svg import Line, line_chart
from trivium.studies.canaries import canaries_of
from trivium.studies.evidence import Training, trainings_of
from trivium.studies.extraction import leading_matches
from trivium.studies.finding import Cell, Control, Figure, Finding
from trivium.studies.statistics import dispersion, poisson_quantiles, quantile_pairs, trend
from trivium.studies.study import Preset, Trial
from trivium.studies.suite import suite

HEADER = (
    "training", "parameters", "rows", "memorised", "groups", "mean a group", "dispersion", "degrees", "p of dispersion", "trend",
    "p of trend", "QQ correlation", "KS distance", "a ramp would be seen", "canaries", "p of their last place", "order matters",
)  # fmt: skip
POWER = 0.8  # with which a ramp must be seen before a run may say that there is none
RAMPS = 100


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Memorised rows in consecutive groups of the order of training; canary_p: of where canaries were last seen, if there are any."""

    training: Training
    num_rows: int
    counts: list[int]
    canary_p: float | None
    num_canaries: int

    @property
    def num_tests(self) -> int:
        """Dispersion and trend, and the canaries' last place where there are any."""
        return 2 if self.canary_p is None else 3


@component
class Order:
    """(k, l)-extraction of the rows of the first epoch, counted in consecutive groups of `group` rows (Pythia: 512).

    rows: at most so many, from the first. k, l, published: as in the study memorization, whose models it shares; Pythia's k and l are 32,
    and here l is small, because a model of a million parameters says hardly any row for longer.
    """

    name: ClassVar = "order"
    claim: ClassVar = "the order of training does not influence what is memorised (Biderman et al. 2023, section 3.2)"
    question: ClassVar = "Is a row of training more likely to be known by heart for having come early or late?"
    rule: ClassVar = (
        "order matters (the claim is not seen) if in some model the dispersion of counts, their trend (Poisson regression, Wald), or the"
        " place at which a canary was last seen deviates, tested at 5 % together, over all models (Bonferroni); it does not if in none"
        " does and one at least could tell: a rate that rises from 0 to twice its mean would be rejected with a power of 80 % at its"
        " number of memorised rows; if none could, one cannot tell"
    )
    expected: ClassVar = "no deviation; the smallest models, which forget what they saw first, may show one, and know few rows by heart"
    k: int = Field(default=16, ge=1)
    l: int = Field(default=4, ge=1)  # noqa: E741  (the letter of the definition)
    group: int = Field(default=128, ge=2)
    rows: int = Field(default=20_000, ge=4)
    published: str = ""

    def trials(self, preset: Preset) -> Sequence[Trial]:
        return [suite(preset)]

    def find(self, folders: Sequence[Path]) -> Finding:
        found = [self._arrivals(training) for training in trainings_of(folders, self.published)]
        models = len(found)
        able = [each for each in found if power(each.counts, models=models, tests=each.num_tests) >= POWER]
        matters = [each for each in found if order_matters(each.counts, each.canary_p, models=models)]
        reference = generator(1, "order, controls").poisson
        ramp = np.linspace(0, 10, 500)
        controls = [
            Control("500 counts whose rate rises from 0 to 10", is_positive=True, is_detected=order_matters(reference(ramp).tolist())),
            Control("500 counts of a rate of 5", is_positive=False, is_detected=order_matters(reference(5.0, 500).tolist())),
        ]
        told = "; ".join(f"{each.training.name}: {sum(each.counts):,} of {each.num_rows:,} rows" for each in found)
        if matters:
            names = ", ".join(each.training.name for each in matters)
            verdict = f"In {len(matters)} of {len(found)} models the order matters ({names}); known by heart: {told}."
        elif not able:
            verdict = f"Too few rows are known by heart to see even a rate that rises from 0 ({told}): one cannot tell."
        else:
            verdict = f"In none of {len(able)} models that can tell does the order matter; known by heart: {told}."
        rows = [_row(each, models) for each in found]
        holds = not matters if matters or able else None
        return Finding(verdict, holds, HEADER, rows, controls, [figure for each in found for figure in _figures(each)])

    def _arrivals(self, training: Training) -> Arrivals:
        source = training.order.source
        if source.seq_len < self.k + self.l:
            raise DataError(f"{training.name}: its rows have {source.seq_len} tokens, k + l is {self.k + self.l}; lower k and l")
        model, size = training.speaker().model, {"prompt": self.k, "length": self.l}
        first_epoch = min(training.num_rows, source.num_rows, self.rows)
        matches = leading_matches(model, [training.order.row(place) for place in range(first_epoch)], **size)
        is_known = matches[: first_epoch // self.group * self.group] == self.l
        if len(is_known) < 2 * self.group:
            raise DataError(f"{training.name}: has seen {first_epoch:,} rows, fewer than two groups of {self.group}; lower group")
        canaries = [canary for canary in canaries_of(training, self.k + self.l) if len(canary.places)]
        extracted = leading_matches(model, [canary.tokens for canary in canaries], **size) == self.l
        seen, last = [len(canary.places) for canary in canaries], [int(canary.places[-1]) for canary in canaries]
        p = last_place_p(seen, last, extracted.tolist()) if canaries else None
        return Arrivals(training, first_epoch, is_known.reshape(-1, self.group).sum(axis=1).tolist(), p, len(canaries))


def order_matters(counts: Sequence[int], canary_p: float | None = None, *, models: int = 1) -> bool:
    """Whether one of the tests rejects, at 5 % for all of them together, of so many models."""
    tests = [dispersion(counts).p, trend(counts).p, *([] if canary_p is None else [canary_p])]
    return min(tests) < 0.05 / (len(tests) * models)


def power(counts: Sequence[int], *, models: int = 1, tests: int = 2) -> float:
    """Of 100 rates that rise from 0 to twice the mean of these counts, the share that is rejected by as many tests of as many models."""
    mean, draw = float(np.mean(counts)), generator(1, "power against a ramp")
    ramps_RN = draw.poisson(np.linspace(0, 2 * mean, len(counts)), (RAMPS, len(counts)))
    canary_p = 1.0 if tests > 2 else None  # the ramp is not one of canaries, yet their test takes its share of the 5 %
    return float(np.mean([order_matters(ramp, canary_p, models=models) for ramp in ramps_RN.tolist()]))


def last_place_p(seen: Sequence[int], last: Sequence[int], extracted: Sequence[bool]) -> float:
    """p that whether a canary is extracted goes with where it was last seen, among canaries that were seen as often."""
    times_N, last_N, known_N = np.array(seen), np.array(last, np.float64), np.array(extracted, np.float64)
    for times in np.unique(times_N):
        alike = times_N == times
        last_N[alike] = ranks(last_N[alike]) / (alike.sum() + 1)
        known_N[alike] -= known_N[alike].mean()
    return spearman(last_N.tolist(), known_N.tolist())[1]


def ks_distance(counts: Sequence[int]) -> float:
    """The largest distance of the counts' distribution from Poisson's; descriptive, its usual test does not hold for whole numbers."""
    mean, n = float(np.mean(counts)), len(counts)
    below, total, distance = math.exp(-mean), 0.0, 0.0
    for number in range(max(counts) + 1):
        total += below
        distance = max(distance, abs(sum(count <= number for count in counts) / n - total))
        below *= mean / (number + 1)
    return distance


def _row(each: Arrivals, models: int) -> list[Cell]:
    scatter, slope, pairs = dispersion(each.counts), trend(each.counts), quantile_pairs(each.counts)
    return [
        each.training.name, each.training.parameters, each.num_rows, sum(each.counts), len(each.counts), scatter.mean, scatter.statistic,
        scatter.degrees, scatter.p, slope.slope, slope.p, correlation(*zip(*pairs, strict=True)), ks_distance(each.counts),
        power(each.counts, models=models, tests=each.num_tests), each.num_canaries, each.canary_p,
        "yes" if order_matters(each.counts, each.canary_p, models=models) else "no",
    ]  # fmt: skip


def _figures(each: Arrivals) -> list[Figure]:
    pairs = quantile_pairs(each.counts)
    most = max(max(pair) for pair in pairs)
    cloud = Line("groups", [], raw=[(float(x), float(y)) for x, y in pairs], is_cloud=True)
    quantiles = line_chart("counts against Poisson's", [cloud, Line("equal", [(0, 0), (most, most)])], x_name="quantile of Poisson's law")
    mean = float(np.mean(each.counts))
    low, high = poisson_quantiles(mean, [0.025, 0.975])
    along = Line("memorised", [(float(i), float(count)) for i, count in enumerate(each.counts)])
    ends = [Line(name, [(0.0, float(value)), (len(each.counts) - 1.0, float(value))]) for name, value in (("2.5 %", low), ("97.5 %", high))]
    course = line_chart("memorised rows along the order", [along, *ends], x_name="group")
    return [Figure("quantiles", each.training.name, quantiles), Figure("along the order", each.training.name, course)]
