"""The nearest earlier neighbour of every vector, exactly, block by block.

N vectors of D numbers in blocks. No index is built: all pairs are compared, 2 N^2 D / 2 operations, of which 10^5 vectors of 576 numbers
take a minute or two on two cores. Memory: two blocks and their products.
"""

from collections.abc import Sequence

import numpy as np


def nearest_earlier(blocks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """1 - cosine of every vector and the nearest one before it, (N,) float64, and the number of that one, (N,) int64.

    blocks: (n, D) each, on disk or in memory. From all vectors their mean is taken off first: hidden states of a model share a large part,
    which would make all of them near (Ethayarajh 2019, arXiv:1909.00512). What has no direction then, since it is at the mean, is at
    distance 0 from what is there too, such as one query again and again, and 1 from everything else; the first vector has no neighbour:
    infinity and -1.
    """
    mean_D = np.add.reduce([block.sum(0, dtype=np.float64) for block in blocks]) / sum(map(len, blocks))
    starts = np.cumsum([0, *map(len, blocks)])
    distance_N, nearest_N = np.full(starts[-1], np.inf), np.full(starts[-1], -1)
    for place, block in enumerate(blocks):
        here, mine_ND = slice(starts[place], starts[place + 1]), _directions(block, mean_D)
        for other in range(place + 1):
            distance = 1 - mine_ND @ _directions(blocks[other], mean_D).T
            if other == place:
                distance[np.triu_indices(len(block))] = np.inf
            closest = distance.argmin(1)
            found = distance[np.arange(len(block)), closest]
            is_nearer = found < distance_N[here]
            nearest_N[here] = np.where(is_nearer, starts[other] + closest, nearest_N[here])
            distance_N[here] = np.where(is_nearer, found, distance_N[here])
    return np.maximum(distance_N, 0), nearest_N


def _directions(block: np.ndarray, mean_D: np.ndarray) -> np.ndarray:
    """The vectors less the mean, of length 1, (n, D + 1); those that are at the mean, to the digits of fp32, point along the last axis."""
    from_mean = np.asarray(block, np.float64) - mean_D
    size = np.linalg.norm(from_mean, axis=1, keepdims=True)
    is_away = size > 1e-6 * np.linalg.norm(mean_D)
    return np.append(np.divide(from_mean, size, out=np.zeros_like(from_mean), where=is_away), ~is_away, axis=1)
