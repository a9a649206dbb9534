"""Soft overlong punishment: what an answer loses before it is cut off, so that length has a slope and no cliff."""

import numpy as np


def overlong(lengths_N: np.ndarray, max_tokens: int, margin: int) -> np.ndarray:
    """0 up to max_tokens - margin tokens, then falling to -1 at max_tokens, and -1 beyond; (N,). margin 0: 0 everywhere.

    Yu et al. 2025, arXiv:2503.14476, eq. 13 (DAPO), where max_tokens is 20,480 and margin 4,096.
    """
    if not margin:
        return np.zeros(len(lengths_N))
    return np.clip((max_tokens - margin - lengths_N) / margin, -1.0, 0.0)
