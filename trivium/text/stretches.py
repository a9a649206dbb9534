"""Hashes of any stretch of a text, from prefix sums: a word, a line or a paragraph costs the same, and case counts.

A stretch is the number sum of (c_i + 1) B^i mod 2^64 over its code points, taken back to its first place by B^-start.
Its bits are not alike: mix it with what it is compared under before some of them are used.
"""

import numpy as np

from trivium.text.words import Text, inverse_powers, prefix_sums


class Stretches:
    """Prefix sums of a batch. Two different stretches have the same hash with probability about 2^-64."""

    def __init__(self, text: Text) -> None:
        terms = text.codes_N.astype(np.uint64)
        terms += np.uint64(1)  # or a zero character would be nothing
        self._num_codes, self._sum = len(terms), prefix_sums(terms)

    def hashes(self, start_X: np.ndarray, end_X: np.ndarray) -> np.ndarray:
        """Of the stretches from start to end, (X,) uint64."""
        with np.errstate(over="ignore"):
            return (self._sum[end_X] - self._sum[start_X]) * inverse_powers(start_X, self._num_codes)
