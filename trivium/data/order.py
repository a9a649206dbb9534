"""Data order as a pure function: row k of an epoch is permute(k), computed without a shuffle file and invertible.

A Feistel network over the smallest even number of bits that holds n, walked until it lands below n (Black, Rogaway 2002,
"Ciphers with arbitrary finite domains", section 3). So the order is the same for any number of ranks, a run resumes by knowing
one integer, and "at which step was row i trained on?" has an answer.
"""

import numpy as np

from trivium.core.seeds import key, mix

ROUNDS = 4


def permute(index: np.ndarray, n: int, stream: int, *, inverse: bool = False) -> np.ndarray:
    """Map each index in [0, n) to its place in a pseudo-random permutation of n; int64, about 100 ns an element."""
    bits = max(1, ((n - 1).bit_length() + 1) // 2)
    half, low = np.uint64(bits), np.uint64((1 << bits) - 1)
    keys = [np.uint64(key(stream, "feistel", number)) for number in range(ROUNDS)]
    walking = np.asarray(index, np.uint64).copy()
    todo = np.ones(walking.shape, bool)
    while todo.any():
        left, right = walking[todo] >> half, walking[todo] & low
        for round_key in reversed(keys) if inverse else keys:
            if inverse:
                left, right = right ^ (mix(left ^ round_key) & low), left
            else:
                left, right = right, left ^ (mix(right ^ round_key) & low)
        walking[todo] = (left << half) | right
        todo = walking >= np.uint64(n)
    return walking.astype(np.int64)


def epoch_rows(first: int, count: int, n: int, seed: int, purpose: str) -> np.ndarray:
    """Rows number first .. first+count-1 of an endless stream that visits all n rows once an epoch, each epoch in another order."""
    place = np.arange(first, first + count, dtype=np.int64)
    rows = np.empty(count, np.int64)
    for epoch in np.unique(place // n):
        here = place // n == epoch
        rows[here] = permute(place[here] % n, n, key(seed, purpose, int(epoch)))
    return rows


def epoch_places(rows: np.ndarray, last: int, n: int, seed: int, purpose: str) -> np.ndarray:
    """The inverse of `epoch_rows`: every place below `last` of the same stream that holds one of these rows, ascending."""
    found = [epoch * n + permute(rows, n, key(seed, purpose, epoch), inverse=True) for epoch in range(-(-last // n))]
    places = np.sort(np.concatenate([np.empty(0, np.int64), *found]))
    return places[places < last]
