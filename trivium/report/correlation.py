"""How two columns of numbers go together: Pearson's correlation, and Spearman's of their ranks with its p-value."""

import math
from collections.abc import Sequence

import numpy as np

from trivium.core.seeds import generator

PERMUTATIONS = 10_000


def correlation(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> float:
    """Pearson's; 0 where one of them does not vary."""
    x_N, y_N = np.asarray(x, np.float64), np.asarray(y, np.float64)
    x_N, y_N = x_N - x_N.mean(), y_N - y_N.mean()
    size = math.sqrt(float(x_N @ x_N) * float(y_N @ y_N))
    return float(x_N @ y_N) / size if size else 0.0


def slope(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> float:
    """Of the least-squares line of y on x; 0 where x does not vary. y less slope times x has a correlation of 0 with x."""
    x_N, y_N = np.asarray(x, np.float64), np.asarray(y, np.float64)
    square = float(((x_N - x_N.mean()) ** 2).sum())
    return float((x_N - x_N.mean()) @ y_N) / square if square else 0.0


def ranks(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Ranks from 1, equal values with their mean rank; (N,) float64."""
    values_N = np.asarray(values, np.float64)
    _, index_N, count_U = np.unique(values_N, return_inverse=True, return_counts=True)
    return (np.cumsum(count_U) - (count_U - 1) / 2)[index_N]


def spearman(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, *, seed: int = 1) -> tuple[float, float]:
    """(rho, p of a rho as far from 0 when the order of y is drawn by lot 10,000 times). Spearman 1904; p = 1 where one does not vary."""
    x_N, y_N = ranks(x), ranks(y)
    rho = correlation(x_N, y_N)
    if not x_N.std() or not y_N.std():
        return 0.0, 1.0
    draw = generator(seed, "permutations of ranks")
    shuffled_RN = draw.permuted(np.broadcast_to(y_N, (PERMUTATIONS, len(y_N))), axis=1)
    size = math.sqrt(float(((x_N - x_N.mean()) ** 2).sum() * ((y_N - y_N.mean()) ** 2).sum()))
    drawn_R = (shuffled_RN - y_N.mean()) @ (x_N - x_N.mean()) / size
    return rho, (1 + int((np.abs(drawn_R) >= abs(rho) - 1e-12).sum())) / (PERMUTATIONS + 1)
