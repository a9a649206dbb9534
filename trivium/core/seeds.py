"""Randomness as a function: every number is keyed by (seed, purpose, counters), so there is no state to save.

Two runs, two machines or two batch layouts that ask for the same key get the same numbers; a resumed run needs to know only its step.
"""

from hashlib import blake2b

import numpy as np

_MIX_1, _MIX_2, _GOLDEN = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15)


def key(seed: int, purpose: str, *counters: int) -> int:
    """A 64-bit number that depends on all of its arguments and nothing else."""
    text = "\x1f".join([str(seed), purpose, *map(str, counters)])
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def generator(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """A fresh NumPy generator for this key. Making one costs about 20 microseconds."""
    return np.random.Generator(np.random.Philox(key=key(seed, purpose, *counters)))


def mix(value: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014, fig. 14): a bijection of uint64 that scatters neighbours."""
    with np.errstate(over="ignore"):
        value = value + _GOLDEN
        value ^= value >> np.uint64(30)  # in place: half of the time is in fetching new memory
        value *= _MIX_1
        value ^= value >> np.uint64(27)
        value *= _MIX_2
        value ^= value >> np.uint64(31)
        return value


def uniforms(stream: int | np.ndarray, index_N: np.ndarray, position_N: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1), one for each (index, position) of the stream, or of each its own (N,); shape (N,) float64.

    The sampler draws with these, so what a request gets does not depend on its neighbours in the batch.
    """
    base = mix(np.asarray(index_N, np.uint64) ^ np.asarray(stream, np.uint64))
    return (mix(base ^ mix(np.asarray(position_N, np.uint64))) >> np.uint64(11)) * 2.0**-53
