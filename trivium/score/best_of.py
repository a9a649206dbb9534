"""Best of k: what the best of k answers is worth, from n >= k answers to each prompt, and how far it is from the model at most.

P prompts, N answers to each, K numbers of answers to choose from (1 to N).
"""

import math

import numpy as np


def best_of(scores_PN: np.ndarray, values_PN: np.ndarray | None = None) -> np.ndarray:
    """The expected score of the best of k of a prompt's answers, for k = 1 to N; (P, K).

    The mean over all subsets of k answers, without drawing any: the i-th smallest score is the largest of C(i-1, k-1) of the C(n, k)
    subsets. Unbiased, unlike the best of the first k, with less variance (Nakano et al. 2021, arXiv:2112.09332, appendix I; of scores
    0 and 1 it is pass@k: Chen et al. 2021, arXiv:2107.03374, eq. 1). values: what the answer with the best score is worth by another
    measure, such as the true score of what a reward model chooses; between equal scores a lot decides, so their values are averaged.
    """
    order = np.argsort(scores_PN, axis=1, kind="stable")
    if values_PN is None:
        worth_PN = scores_PN
    else:
        worth_PN = np.array([_mean_of_equals(scores, values) for scores, values in zip(scores_PN, values_PN, strict=True)])
    return np.take_along_axis(np.asarray(worth_PN, np.float64), order, axis=1) @ _shares(scores_PN.shape[1]).T


def kl_of_best_of(n: int) -> float:
    """Nats that the best of n answers is away from the model that gave them, at most: log n - (n - 1) / n.

    Exact if no two answers ever score the same; else less (Beirami et al. 2024, arXiv:2401.01879, section 3).
    """
    return math.log(n) - (n - 1) / n


def _shares(n: int) -> np.ndarray:
    """C(i-1, k-1) / C(n, k) at row k - 1 and column i - 1, without the large numbers: each is (i - k) / (i - 1) of the next in its row."""
    k_K1 = np.arange(1, n + 1)[:, None]
    rank = np.arange(n, 1, -1)[None]
    falling = np.concatenate([k_K1 / n, np.clip(rank - k_K1, 0, None) / (rank - 1)], axis=1)
    return np.cumprod(falling, axis=1)[:, ::-1]


def _mean_of_equals(scores: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Each value replaced by the mean of those whose scores are the same."""
    _, place = np.unique(scores, return_inverse=True)
    return (np.bincount(place, values) / np.bincount(place))[place]
