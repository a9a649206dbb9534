"""Data sets against the stock of text: when the largest data set would need more text than there is, sample by sample.

Villalobos et al. 2024, arXiv:2211.04325. Both grow at a constant rate here, so a sample's crossing has a closed form and there is no grid
of years. Left out: their projection of the stock from population and internet use, which gives the same order of magnitude; and a factor
of 4/5 (words to tokens) that their code applies in one place and not in another.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trivium.core.errors import ConfigError, DataError
from trivium.core.seeds import generator

Z = {0.8: 1.2815515655446004, 0.9: 1.6448536269514722, 0.95: 1.959963984540054}  # half-widths of central intervals
FIRST_YEAR = 2024.0  # the year that the inputs speak of


@dataclass(frozen=True, slots=True)
class Spread:
    """A number that is known only within an interval: of `level`, from low to high, with its median in the middle unless it is given.

    Numbers that multiply (is_log) are log-normal, rates normal; where the median is not in the middle, each half has its own width.
    Raises ConfigError unless low <= median <= high (above 0 if is_log).
    """

    low: float
    high: float
    median: float | None = None
    level: float = 0.95
    is_log: bool = True

    def __post_init__(self) -> None:
        if self.level not in Z:
            raise ConfigError(f"an interval of {self.level:g}; one of {', '.join(f'{level:g}' for level in Z)}")
        if not self.low <= self.middle <= self.high or (self.is_log and self.low <= 0):
            raise ConfigError(
                f"an interval from {self.low:g} over {self.middle:g} to {self.high:g}; it must rise, and be above 0 if it is a size"
            )

    @property
    def middle(self) -> float:
        """The median."""
        if self.median is not None:
            return self.median
        return math.sqrt(max(self.low, 0.0) * max(self.high, 0.0)) if self.is_log else (self.low + self.high) / 2

    def sample(self, draw: np.random.Generator, count: int) -> np.ndarray:
        """So many draws, (count,) float64."""
        low, middle, high = (math.log(end) if self.is_log else end for end in (self.low, self.middle, self.high))
        z = draw.standard_normal(count)
        values = middle + z / Z[self.level] * np.where(z < 0, middle - low, high - middle)
        return np.exp(values) if self.is_log else values


def exactly(value: float, *, is_log: bool = True) -> Spread:
    """A number without doubt."""
    return Spread(value, value, is_log=is_log)


@dataclass(frozen=True, slots=True)
class Stock:
    """Text there is: pages x bytes a page / bytes a token, of which a share is good enough, read so many times with profit.

    page_growth, size_growth: factors a year of the number and the length of pages. Values: the inputs of the released code.
    """

    pages: Spread = Spread(75e9, 1e12)
    page_bytes: Spread = Spread(6100, 8200)
    token_bytes: Spread = Spread(2, 5, median=4)
    quality: Spread = Spread(0.1, 0.4)
    epochs: Spread = Spread(2, 5)
    page_growth: Spread = Spread(1.0, 1.1)
    size_growth: Spread = Spread(1.02, 1.04)

    def sample(self, draw: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens in FIRST_YEAR and growth in powers of ten a year, (count,) each."""
        pages, page_bytes, token_bytes, quality, epochs, more, longer = (
            spread.sample(draw, count)
            for spread in (self.pages, self.page_bytes, self.token_bytes, self.quality, self.epochs, self.page_growth, self.size_growth)
        )
        return pages * page_bytes / token_bytes * quality * epochs, np.log10(more) + np.log10(longer)


@dataclass(frozen=True, slots=True)
class Flat:
    """A stock of so many tokens that does not grow."""

    tokens: Spread

    def sample(self, draw: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens and no growth, (count,) each."""
        return self.tokens.sample(draw, count), np.zeros(count)


@dataclass(frozen=True, slots=True)
class Demand:
    """The largest data set: tokens in FIRST_YEAR, and growth in powers of ten a year.

    The published values: 3e12 to 1.3e13 tokens (90 %) in the released code, growth of 0.38 [0.27, 0.48] in the paper.
    """

    tokens: Spread = Spread(3e12, 1.3e13, level=0.9)
    growth: Spread = Spread(0.27, 0.48, median=0.38, is_log=False)


def demand_of_compute(flops: Spread, flops_growth: Spread, overtraining: float = 1.0) -> Demand:
    """The data set that the largest training of FIRST_YEAR would best have: 20 sqrt(C / 120) tokens, C = 6 N D with D = 20 N.

    overtraining: as many times more tokens, and fewer parameters, than that. flops_growth: powers of ten a year.
    """
    if overtraining <= 0:
        raise ConfigError(f"overtraining is {overtraining:g}; it is above 0, 1 for none")

    def tokens(budget: float) -> float:
        return overtraining * 20 * math.sqrt(budget / 120)

    half = Spread(flops_growth.low / 2, flops_growth.high / 2, flops_growth.middle / 2, flops_growth.level, is_log=False)
    return Demand(Spread(tokens(flops.low), tokens(flops.high), tokens(flops.middle), flops.level), half)


def crossings(demand: Demand, stock: Stock | Flat, seed: int, *, samples: int = 10_000) -> np.ndarray:
    """When the data set of each sample is as large as the stock, as a year, infinite if never; (samples,), the same for the same seed."""
    tokens, rate = (
        spread.sample(generator(seed, f"stock {name}"), samples) for name, spread in (("demand", demand.tokens), ("growth", demand.growth))
    )
    there, stock_rate = stock.sample(generator(seed, "stock there"), samples)
    closing, missing = rate - stock_rate, np.log10(there / tokens)
    with np.errstate(divide="ignore", invalid="ignore"):
        after = np.where(closing > 0, missing / closing, np.inf)
    return FIRST_YEAR + np.where(missing <= 0, 0.0, after)


def exhausted_by(crossing: np.ndarray, years: Sequence[float]) -> np.ndarray:
    """The share of samples whose data set is as large as the stock at each year."""
    return (crossing[None, :] <= np.asarray(years, np.float64)[:, None]).mean(axis=1)


def middle_year(crossing: np.ndarray) -> tuple[float, float, float]:
    """Median, and the 10 and 90 % quantiles; infinite where so many samples never cross."""
    low, median, high = np.quantile(crossing, [0.1, 0.5, 0.9], method="inverted_cdf").tolist()
    return median, low, high


def growth_of(years: Sequence[float], tokens: Sequence[float], seed: int, *, resamples: int = 10_000) -> Spread:
    """Growth of data sets in powers of ten a year: least squares of log10 tokens on the date, and its 95 % interval over resampled systems.

    Raises DataError: fewer than 3 systems, all of one date, or tokens that are not above 0.
    """
    x, raw = np.asarray(years, np.float64), np.asarray(tokens, np.float64)
    if len(x) != len(raw) or len(x) < 3 or x.min() == x.max() or not (raw > 0).all():
        raise DataError(
            f"{len(x)} dates and {len(raw)} sizes of data sets; 3 systems or more are needed, of different dates, with tokens above 0"
        )
    y, draw = np.log10(raw), generator(seed, "growth of data sets")
    picks = draw.integers(len(x), size=(resamples, len(x)))
    slopes = _slopes(x[picks], y[picks])
    low, high = np.quantile(slopes[np.isfinite(slopes)], [0.025, 0.975]).tolist()
    middle = float(_slopes(x[None], y[None])[0])
    return Spread(min(low, middle), max(high, middle), middle, is_log=False)


def _slopes(x_RN: np.ndarray, y_RN: np.ndarray) -> np.ndarray:
    x_RN = x_RN - x_RN.mean(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (x_RN * y_RN).sum(axis=1) / (x_RN**2).sum(axis=1)
