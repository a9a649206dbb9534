"""95 % intervals of what was measured: a mean, a share, a difference of two models on the same prompts.

Left out: other levels than 95 %, and tests; an interval says what a p-value says, and how large the effect is besides.
"""

import math
from collections.abc import Sequence

import numpy as np

from trivium.core.errors import DataError
from trivium.core.seeds import generator

Z_95 = 1.959963984540054
FEW = 5  # where fewer differ from all the others, they say too little of what was not seen for drawing them again
T_95 = (12.70620, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691, 2.36462, 2.30600, 2.26216, 2.22814)  # degrees of freedom 1 to 10
RESAMPLES = 1000  # of curves and ratios
_CHUNK = 1 << 20  # resampled values at a time: 8 MB


def mean_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Mean and its 95 % interval by Student's t (Student 1908, Biometrika 6:1): mean +- t s / sqrt(n).

    One value has a mean and no interval. Raises DataError for no values, or one that is not finite.
    """
    values_N = _checked(values, "mean_interval")
    mean = float(values_N.mean())
    if len(values_N) == 1:
        return mean, None, None
    half = t_95(len(values_N) - 1) * float(values_N.std(ddof=1)) / math.sqrt(len(values_N))
    return mean, mean - half, mean + half


def share_interval(successes: float, n: int) -> tuple[float, float, float]:
    """A share and its 95 % score interval, which stays inside [0, 1] and is honest for few trials and for shares of 0 and 1.

    A draw may count as half a success.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22:209.
    """
    if not 0 <= successes <= n or n == 0:
        raise DataError(f"share_interval: {successes} successes of {n} trials; it needs 0 <= successes <= trials, and a trial")
    return successes / n, *_score_interval(successes / n, n)


def clustered_share_interval(successes: Sequence[float], trials: Sequence[int]) -> tuple[float, float, float]:
    """A share over trials that come in clusters, such as all pairs of one prompt, and its 95 % interval, which knows that they are alike.

    The score interval for the number of independent trials that would have the variance which the clusters show (Kish 1965, "Survey
    Sampling", section 8.2: the design effect; inside a score interval: Korn and Graubard 1998, Survey Methodology 24:193), never more than
    there are trials. With the same result everywhere clusters count as one trial each. Raises DataError as `share_interval` does.
    """
    n, num_clusters = sum(trials), len(trials)
    observed, _, _ = share_interval(sum(successes), n)
    spread = sum((right - observed * total) ** 2 for right, total in zip(successes, trials, strict=True))
    independent = float(num_clusters)
    if num_clusters > 1 and spread > 0:
        variance = num_clusters / (num_clusters - 1) * spread / n**2
        independent = min(float(n), observed * (1 - observed) / variance)
    return observed, *_score_interval(observed, independent)


def clustered_mean_interval(values: Sequence[float] | np.ndarray, clusters: Sequence[int] | np.ndarray) -> tuple[float, float, float]:
    """A mean over values that come in clusters, such as all matches on one prompt, and its 95 % interval, which knows that they are alike.

    The ratio of the clusters' sums to their sizes (Kish 1965, "Survey Sampling", section 6.3), by Student's t over clusters; one cluster
    has no spread. Raises DataError for no values, or one that is not finite.
    """
    values_N = _checked(list(values), "clustered_mean_interval")
    _, index_N = np.unique(clusters, return_inverse=True)
    size_C, mean, count = np.bincount(index_N), float(values_N.mean()), int(index_N.max()) + 1
    if count == 1:
        return mean, mean, mean
    off_C = np.bincount(index_N, values_N) - size_C * mean
    half = t_95(count - 1) * math.sqrt(count / (count - 1) * float(off_C @ off_C)) / len(values_N)
    return mean, mean - half, mean + half


def paired_bootstrap(a: Sequence[float], b: Sequence[float], seed: int, *, resamples: int = 10_000) -> tuple[float, float, float]:
    """Mean of a - b, item by item, with its 95 % percentile interval over resampled items; the same for the same seed.

    Efron and Tibshirani 1993, "An Introduction to the Bootstrap", ch. 13; for paired systems Koehn 2004 (EMNLP, W04-3250). Items drawn
    again hold no difference that was not seen, so where fewer than FEW differ from all the others it is at least as wide as that of
    the same items and two more, one with the largest difference in each direction (Bonett and Price 2012, JEBS 37:479, for shares).
    Costs O(resamples * items) time. Raises DataError if the two differ in length, are empty or not finite.
    """
    if len(a) != len(b):
        raise DataError(f"paired_bootstrap: {len(a)} and {len(b)} values; a pair needs both")
    both_2N = np.stack([_checked(a, "paired_bootstrap"), _checked(b, "paired_bootstrap")])
    difference_N = both_2N[0] - both_2N[1]
    low, high = _percentiles(difference_N, seed, "paired_bootstrap", resamples)
    if is_almost_constant(difference_N):
        span = _span(both_2N)
        more_M = np.append(difference_N, [-span, span])
        half = Z_95 * float(more_M.std()) / math.sqrt(len(more_M))
        low, high = min(low, max(-span, more_M.mean() - half)), max(high, min(span, more_M.mean() + half))
    return float(difference_N.mean()), float(low), float(high)


def ratio_bootstrap(sums: Sequence[float], counts: Sequence[float], seed: int) -> tuple[float, float, float]:
    """The sum of sums over that of counts, a share, with its 95 % percentile interval over resampled items.

    Where fewer than FEW items differ from all the others, at least as wide as the score interval of so many trials. Raises DataError as
    `share_interval` and the others do.
    """
    both_N2 = np.stack([_checked(sums, "ratio_bootstrap"), _checked(counts, "ratio_bootstrap")], axis=1)
    low, high = np.quantile(np.divide(*_resampled_means(both_N2, seed, "ratio_bootstrap", RESAMPLES).T), [0.025, 0.975])
    share, n = float(both_N2[:, 0].sum() / both_N2[:, 1].sum()), len(both_N2)
    if is_almost_constant(both_N2[:, 0] / both_N2[:, 1]):
        _, least, most = share_interval(share * n, n)
        low, high = min(low, least), max(high, most)
    return share, float(low), float(high)


def curve_bootstrap(curves_NK: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean of N curves with K points each, and its 95 % percentile interval at each point over resampled curves; (K,) each.

    One curve has no interval: its ends are the curve itself. Costs O(RESAMPLES * N * K) time.
    """
    low_K, high_K = _percentiles(curves_NK, seed, "curve_bootstrap", RESAMPLES)
    return curves_NK.mean(axis=0), low_K, high_K


def is_almost_constant(values_N: np.ndarray) -> bool:
    """Whether most values are the same but for rounding, and fewer than FEW are others."""
    _, counts = np.unique(np.round(values_N / (np.abs(values_N).max() or 1.0), 9), return_counts=True)
    return bool(counts.max() > len(values_N) / 2 and len(values_N) - counts.max() < FEW)


def _percentiles(values: np.ndarray, seed: int, purpose: str, resamples: int) -> np.ndarray:
    """The 2.5 and the 97.5 % percentile of the mean over the first axis, when its items are drawn again."""
    return np.quantile(_resampled_means(values, seed, purpose, resamples), [0.025, 0.975], axis=0)


def _resampled_means(values: np.ndarray, seed: int, purpose: str, resamples: int) -> np.ndarray:
    draw, n = generator(seed, purpose), len(values)
    rows = max(1, _CHUNK // values.size)
    sizes = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    return np.concatenate([values[draw.integers(n, size=(size, n))].mean(axis=1) for size in sizes])


def _span(values: np.ndarray) -> float:
    """The largest difference that two values like these may have: 1 of shares, else the largest that is there."""
    low, high = float(values.min()), float(values.max())
    return 1.0 if low >= 0 and high <= 1 else high - low or abs(high)


def _score_interval(observed: float, n: float) -> tuple[float, float]:
    z2 = Z_95**2
    centre = (observed + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(observed * (1 - observed) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def t_95(degrees: int) -> float:
    """The 0.975 quantile of Student's t: a table to 10 degrees of freedom, then Abramowitz and Stegun 26.7.5 (error below 1e-5)."""
    if degrees <= len(T_95):
        return T_95[degrees - 1]
    z = Z_95
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / degrees**power for power, term in enumerate(terms, start=1))


def _checked(values: Sequence[float], where: str) -> np.ndarray:
    values_N = np.asarray(values, np.float64)
    if values_N.size == 0:
        raise DataError(f"{where}: there are no values")
    if not np.isfinite(values_N).all():
        index = int(np.argmin(np.isfinite(values_N)))
        raise DataError(f"{where}: value {index + 1} of {len(values_N)} is {values_N[index]}; leave it out or find where it comes from")
    return values_N
