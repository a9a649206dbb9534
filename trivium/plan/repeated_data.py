"""What repeated text is worth: the law of scaling when unique text is limited, and the plan that follows from it.

Muennighoff et al. 2023, arXiv:2305.16264, section 3 and eq. 5-6. Left out: their fit of the two constants, which needs hundreds of runs.
"""

import math
from dataclasses import dataclass

import numpy as np

from trivium.core.errors import ConfigError
from trivium.plan.law import FLOPS_PER, Law

TOKENS_LAST, PARAMETERS_LAST = 15.387756, 5.309743  # R*_D and R*_N as published: repeats after which 63 % of their worth is gone


def worth(unique: float, seen: np.ndarray | float, last: float) -> np.ndarray:
    """What `seen` text (or parameters), `unique` of it new, is worth in new text: U + U R* (1 - exp(-R / R*)), R = seen / U - 1.

    >>> [round(float(worth(1, 1 + repeats, 15.4)), 3) for repeats in (0, 1, 3, 15)]
    [1.0, 1.968, 3.726, 10.586]
    """
    repeats = np.maximum(np.asarray(seen, np.float64) / unique - 1, 0)
    return np.minimum(seen, unique) * (1 + last * -np.expm1(-repeats / last))


def loss(law: Law, parameters: np.ndarray | float, tokens: np.ndarray | float, unique: float) -> np.ndarray:
    """Of so many parameters and tokens, when there are `unique` tokens of text; parameters beyond what those can use lose worth as well."""
    useful = useful_parameters(law, unique)
    return law(worth(useful, parameters, PARAMETERS_LAST), worth(unique, tokens, TOKENS_LAST))


def useful_parameters(law: Law, unique: float) -> float:
    """The size for which `unique` tokens, read once, are the best number: U_N."""
    both = law.a + law.b
    ratio = (law.a * law.A / (law.b * law.B)) ** (1 / both)
    return ratio * (unique * ratio) ** (law.b / law.a)


@dataclass(frozen=True, slots=True)
class Plan:
    """The best use of a budget: parameters, tokens, epochs over the text there is, and the loss that the law says."""

    flops: float
    parameters: float
    tokens: float
    epochs: float
    loss: float


def plan(law: Law, flops: float, unique: float = math.inf) -> Plan:
    """The sizes of the lowest loss for so many FLOPs (C = 6 N D), with `unique` tokens of text at hand. Raises ConfigError."""
    if not (math.isfinite(flops) and flops > 0 and unique > 0):
        raise ConfigError(f"a budget of {flops:g} FLOPs and {unique:g} tokens; both are above 0")
    parameters, tokens = law.optimum(flops)
    if tokens <= unique:
        return Plan(flops, parameters, tokens, tokens / unique, float(law(parameters, tokens)))
    # no closed form: a search over the size, finer than any law is right
    grid = parameters * np.geomspace(1e-1, 1e4, 10_001)
    losses = loss(law, grid, flops / FLOPS_PER / grid, unique)
    best = int(np.argmin(losses))
    tokens = flops / FLOPS_PER / float(grid[best])
    return Plan(flops, float(grid[best]), tokens, tokens / unique, float(losses[best]))
