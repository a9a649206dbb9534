"""What a router is worth: how much of the strong model's lead it keeps for how many calls of it.

Ong et al. 2024, arXiv:2406.18665, section 3: PGR(c) = (quality at a share c of strong calls - weak) / (strong - weak), the performance
gap recovered; APGR is its mean over c from 0 to 1; CPT(x) the smallest share that recovers x. Here everything is exact rather than read
off ten thresholds: prompts in the order of their scores are sent to the strong model one after another. Prompts with one score come in
every order equally often, so a router with one score for all has PGR(c) = c and APGR 1/2, as one that throws a coin has in expectation.
"""

from dataclasses import dataclass

import numpy as np

from trivium.core.errors import DataError
from trivium.core.seeds import generator

TARGETS = (0.5, 0.8)
RESAMPLES = 1000
CURVE_POINTS = 41


@dataclass(frozen=True, slots=True)
class Worth:
    """APGR and CPT of a router with 95 % intervals over prompts; a CPT is nan where it was not reached. curve: (share, PGR)."""

    apgr: float
    apgr_low: float
    apgr_high: float
    cpt: tuple[float, ...]
    cpt_low: tuple[float, ...]
    cpt_high: tuple[float, ...]
    curve: tuple[tuple[float, float], ...]


def recovered(score_P: np.ndarray, gain_P: np.ndarray, weight_P: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The shares of strong calls at which the curve has a corner, from 0 to 1, and the gap recovered there.

    score: higher goes to the strong model first. gain: how much better the strong model's answer is. Raises DataError if the strong model
    is no better than the weak one, for then there is no gap.
    """
    weight_P = np.ones(len(score_P)) if weight_P is None else weight_P
    if weight_P @ gain_P <= 0:
        raise DataError("the strong model is no better than the weak one on these prompts, so there is no gap to recover; swap them")
    return _corners(_places(score_P), gain_P, weight_P)


def _places(score_P: np.ndarray) -> np.ndarray:
    """The place of each prompt in the order of scores, equals sharing one."""
    return np.unique(-score_P, return_inverse=True)[1]


def _corners(place_P: np.ndarray, gain_P: np.ndarray, weight_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total = float(weight_P @ gain_P)
    count_S = np.bincount(place_P, weight_P)
    won_S = np.bincount(place_P, weight_P * gain_P)
    kept = count_S > 0
    return np.append(0, np.cumsum(count_S[kept]) / weight_P.sum()), np.append(0, np.cumsum(won_S[kept]) / total)


def area(share: np.ndarray, pgr: np.ndarray) -> float:
    """APGR: the area below the curve, straight between its corners."""
    return float(((pgr[1:] + pgr[:-1]) / 2) @ np.diff(share))


def call_share(share: np.ndarray, pgr: np.ndarray, target: float) -> float:
    """CPT: the smallest share of strong calls that recovers this much, nan if none does.

    By the first crossing: the curve need not rise everywhere, and a search in it as if it did finds another one.
    """
    reached = np.flatnonzero(pgr >= target)
    if not len(reached):
        return float("nan")
    place = int(reached[0])
    if place == 0:
        return float(share[0])
    rise = pgr[place] - pgr[place - 1]
    return float(share[place - 1] + (share[place] - share[place - 1]) * (target - pgr[place - 1]) / rise)


def worth(score_P: np.ndarray, gain_P: np.ndarray, *, seed: int, resamples: int = RESAMPLES) -> Worth:
    """APGR, CPT and their intervals: percentiles over resampled prompts, of those draws in which the strong model is better."""
    share, pgr = recovered(score_P, gain_P)
    draw, place_P = generator(seed, "routed prompts"), _places(score_P)
    drawn = []
    for _ in range(resamples):
        weight_P = np.bincount(draw.integers(len(gain_P), size=len(gain_P)), minlength=len(gain_P)).astype(np.float64)
        if weight_P @ gain_P > 0:
            again = _corners(place_P, gain_P, weight_P)
            drawn.append([area(*again), *(call_share(*again, target) for target in TARGETS)])
    low, high = np.nanquantile(np.array(drawn), [0.025, 0.975], axis=0)
    grid = np.linspace(0, 1, CURVE_POINTS)
    return Worth(
        area(share, pgr), float(low[0]), float(high[0]), tuple(call_share(share, pgr, target) for target in TARGETS),
        tuple(low[1:].tolist()), tuple(high[1:].tolist()), tuple(zip(grid.tolist(), np.interp(grid, share, pgr).tolist(), strict=True)),
    )  # fmt: skip


def threshold(score_P: np.ndarray, share: float) -> float:
    """The score from which on a prompt goes to the strong model, so that on prompts like these this share does."""
    if share <= 0:
        return float("inf")
    if share >= 1:
        return float("-inf")
    return float(np.quantile(score_P, 1 - share, method="higher"))


def sent(score_P: np.ndarray, threshold: float) -> float:
    """The share of prompts that a threshold sends to the strong model."""
    return float((score_P >= threshold).mean())
