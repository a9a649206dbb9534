"""Calibration: whether what a reward model calls likely is as often so as it says."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trivium.report.intervals import clustered_share_interval

NUM_BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions from `low` to `high`: their mean, the share of them that came true with its 95 % interval, and how many there are."""

    low: float
    high: float
    predicted: float
    observed: float
    observed_low: float
    observed_high: float
    n: int


def calibrate(predicted: Sequence[float], true: Sequence[float], clusters: Sequence[int], *, lowest: float) -> list[Bin]:
    """Bins of equal width from `lowest` to 1, those without a prediction left out.

    true: 1 if it came true, 0 if not, 1/2 for a draw. clusters: what predictions belong together, such as those about one prompt.
    """
    predicted_N, true_N, clusters_N = np.asarray(predicted, np.float64), np.asarray(true, np.float64), np.asarray(clusters)
    place_N = np.minimum(((predicted_N - lowest) / (1 - lowest) * NUM_BINS).astype(int), NUM_BINS - 1)
    found = []
    for place in np.unique(place_N).tolist():
        inside = place_N == place
        observed, low, high = clustered_share_interval(*per_cluster(true_N[inside], clusters_N[inside]))
        begin, end = (lowest + (1 - lowest) * edge / NUM_BINS for edge in (place, place + 1))
        found.append(Bin(begin, end, float(predicted_N[inside].mean()), observed, low, high, int(inside.sum())))
    return found


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: the mean distance of predicted from observed, bins weighted by how many predictions they hold.

    Naeini et al. 2015 (AAAI), eq. 3. Few predictions make it larger than it is: a bin's observed share is noisy.
    """
    return sum(each.n * abs(each.predicted - each.observed) for each in bins) / sum(each.n for each in bins)


def per_cluster(true: Sequence[float] | np.ndarray, clusters: Sequence[int] | np.ndarray) -> tuple[list[float], list[int]]:
    """How many came true in each cluster, and of how many."""
    _, index = np.unique(clusters, return_inverse=True)
    return np.bincount(index, weights=np.asarray(true, np.float64)).tolist(), np.bincount(index).tolist()
