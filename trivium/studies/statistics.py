"""The tests by which studies decide, as pure functions of numbers: equivalence, dispersion, trend.

Left out: what an interval says as well (report/intervals.py), and rank correlation (report/correlation.py). Every p-value is two-sided
unless its function says otherwise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from trivium.core.seeds import generator

LOTS = 4000  # draws that stand for a law that has no formula


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Two one-sided tests (Schuirmann 1987, J. Pharmacokinetics 15:657). p: that the mean is outside of the margin; low, high: 90 %."""

    mean: float
    low: float | None
    high: float | None
    p: float | None
    margin: float

    @property
    def holds(self) -> bool:
        """Whether the 90 % interval lies within the margin, which is a test at 5 %."""
        return self.p is not None and self.p < 0.05


def equivalence(differences: Sequence[float], margin: float) -> Equivalence:
    """Whether the mean of paired differences is within -margin .. margin, by Student's t. One difference has a mean and no test."""
    values_N = np.asarray(differences, np.float64)
    mean, n = float(values_N.mean()), len(values_N)
    if n < 2:
        return Equivalence(mean, None, None, None, margin)
    error = float(values_N.std(ddof=1)) / math.sqrt(n)
    if error == 0:
        return Equivalence(mean, mean, mean, float(abs(mean) >= margin), margin)
    p = max(t_above((mean + margin) / error, n - 1), t_above((margin - mean) / error, n - 1))
    half = t_quantile(0.95, n - 1) * error
    return Equivalence(mean, mean - half, mean + half, p, margin)


def t_above(t: float, degrees: int) -> float:
    """P(T > t) of Student's t with a whole number of degrees of freedom (Abramowitz and Stegun 26.7.3 and 26.7.4, exact)."""
    angle = math.atan2(abs(t), math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    first = degrees % 2
    term, total = (cosine, cosine) if first else (1.0, 1.0)
    for k in range(3 if first else 2, degrees - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    inside = 2 / math.pi * (angle + (sine * total if degrees > 1 else 0.0)) if first else sine * total
    return (1 - inside) / 2 if t >= 0 else (1 + inside) / 2


def t_quantile(share: float, degrees: int) -> float:
    """The value below which this share of Student's t lies, by bisection."""
    low, high = -1e3, 1e3
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if 1 - t_above(middle, degrees) < share else (low, middle)
    return (low + high) / 2


def sign_test(differences: Sequence[float]) -> float:
    """p of as many differences of one sign, zeros left out, if both signs are equally likely."""
    signs = [value for value in differences if value]
    n, k = len(signs), min(sum(value > 0 for value in signs), sum(value < 0 for value in signs))
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n) if n else 1.0


@dataclass(frozen=True, slots=True)
class Dispersion:
    """How counts scatter beside what Poisson's law says. statistic: sum (c - mean)^2 / mean, chi-squared with `degrees`. p: two-sided."""

    mean: float
    statistic: float
    degrees: int
    p: float


def dispersion(counts: Sequence[int]) -> Dispersion:
    """Fisher's index of dispersion (Fisher, Thornton, Mackenzie 1922). Counts of nothing have p = 1.

    Below a mean of 1 the statistic is not chi-squared: p is then of as many events as there are, which fall into the groups by lot.
    """
    count_N = np.asarray(counts, np.float64)
    mean, degrees = float(count_N.mean()), len(count_N) - 1
    if mean == 0 or degrees < 1:
        return Dispersion(mean, 0.0, degrees, 1.0)
    statistic = float(((count_N - mean) ** 2).sum() / mean)
    above = chi2_above(statistic, degrees)
    ends = (above, 1 - above) if mean >= 1 else _ends_by_lot(int(count_N.sum()), len(count_N), int((count_N**2).sum()))
    return Dispersion(mean, statistic, degrees, min(1.0, 2 * min(ends)))


def _ends_by_lot(events: int, groups: int, squares: int) -> tuple[float, float]:
    """The shares of draws in which the squares of the counts, with which dispersion grows, sum to at least, and at most, so much."""
    drawn_R = _squares_by_lot(events, groups)
    return (1 + int((drawn_R >= squares).sum())) / (LOTS + 1), (1 + int((drawn_R <= squares).sum())) / (LOTS + 1)


@cache
def _squares_by_lot(events: int, groups: int) -> np.ndarray:
    """Sums of squared counts of so many events that fall into groups by lot, (LOTS,) int64."""
    draw = generator(1, "dispersion by lot", events, groups)
    return np.array([(np.bincount(draw.integers(groups, size=events)) ** 2).sum() for _ in range(LOTS)])


def chi2_above(x: float, degrees: float) -> float:
    """P(X > x) of chi-squared: the regularised upper incomplete gamma function (series, or Lentz's continued fraction)."""
    a, x = degrees / 2, x / 2
    if x <= 0:
        return 1.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        n = a
        while term > 1e-16 * total:
            n += 1
            term *= x / n
            total += term
        return 1 - scale * total
    b, c, d = x + 1 - a, 1e300, 1 / (x + 1 - a)
    value = d
    for i in range(1, 100_000):
        factor, b = -i * (i - a), b + 2
        d, c = 1 / (factor * d + b), b + factor / c
        value *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return scale * value


@dataclass(frozen=True, slots=True)
class Trend:
    """Of a Poisson regression on place: log of the rate = level + slope x place, place from -1/2 to 1/2. p: Wald's."""

    slope: float
    error: float
    p: float


def trend(counts: Sequence[int]) -> Trend:
    """Whether counts rise or fall along their order, by Newton's method (McCullagh, Nelder 1989, ch. 6).

    Counts of nothing have p = 1, and so have counts in the last place or the first alone: the likeliest slope is infinite then, its error
    too, and the matrix cannot be inverted.
    """
    count_N = np.asarray(counts, np.float64)
    if not count_N[:-1].any() or not count_N[1:].any():
        return Trend(0.0, math.inf, 1.0)
    x_N2 = np.stack([np.ones(len(count_N)), np.linspace(-0.5, 0.5, len(count_N))], axis=1)
    theta = np.array([math.log(count_N.mean()), 0.0])
    for _ in range(50):
        rate_N = np.exp(x_N2 @ theta)
        step = np.linalg.solve(x_N2.T @ (rate_N[:, None] * x_N2), x_N2.T @ (count_N - rate_N))
        theta += step * min(1.0, 2 / max(1e-12, float(np.abs(step).max())))
        if np.abs(step).max() < 1e-12:
            break
    information = x_N2.T @ (np.exp(x_N2 @ theta)[:, None] * x_N2)
    error = math.sqrt(float(np.linalg.inv(information)[1, 1]))
    return Trend(float(theta[1]), error, math.erfc(abs(float(theta[1])) / error / math.sqrt(2)))


def poisson_quantiles(mean: float, shares: Sequence[float]) -> list[int]:
    """For each share the smallest number below or at which at least so much of Poisson's law lies."""
    if mean <= 0:
        return [0 for _ in shares]
    first = max(0, int(mean - 40 * math.sqrt(mean)))  # below it lies less than 1e-300: exp(-mean) itself is 0 from a mean of 746 on
    number_N = np.arange(first, int(mean + 40 * math.sqrt(mean)) + 200)
    logs = [number * math.log(mean) - mean - math.lgamma(number + 1) for number in number_N.tolist()]
    below_N = np.cumsum(np.exp(logs))
    return number_N[np.minimum(np.searchsorted(below_N, sorted(shares)), len(number_N) - 1)].tolist()


def quantile_pairs(counts: Sequence[int]) -> list[tuple[int, int]]:
    """(what Poisson's law with the same mean gives at (i - 1/2) / n, the i-th smallest count): a line through 0 if it holds."""
    n, mean = len(counts), float(np.mean(counts))
    return list(zip(poisson_quantiles(mean, [(i + 0.5) / n for i in range(n)]), sorted(counts), strict=True))


def noise_scale(small: tuple[float, float], large: tuple[float, float]) -> tuple[float, float, float]:
    """(|G|^2, tr(Sigma), their ratio: the batch at which noise and signal are equal) from the mean squared norms of two batches' gradients.

    small, large: (batch, mean |G_batch|^2). McCandlish et al. 2018, arXiv:1812.06162, appendix A.1, as a ratio of averages.

    >>> [round(value, 3) for value in noise_scale((8, 5.0), (64, 3.0))]
    [2.714, 18.286, 6.737]
    """
    (batch_s, norm_s), (batch_l, norm_l) = small, large
    signal = (batch_l * norm_l - batch_s * norm_s) / (batch_l - batch_s)
    noise = (norm_s - norm_l) / (1 / batch_s - 1 / batch_l)
    return signal, noise, noise / signal if signal > 0 else math.inf
