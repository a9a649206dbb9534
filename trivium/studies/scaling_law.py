"""Fits of the five constants of the law of scaling (plan/law.py) to measured runs.

Left out: laws of the learning rate and of the data's quality; and any other loss than that of the last step of a run whose schedule ended
there, which is what the law is about (Hoffmann et al. 2022, arXiv:2203.15556, section 3.1).
"""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

from trivium.core.errors import DataError
from trivium.core.seeds import generator
from trivium.plan.law import Law

DELTA = 1e-3  # of the Huber loss
MIN_RUNS = 6  # more than there are constants
# Starts of the fit, of Hoffmann et al. 2022, appendix D.3 (log E, log A, log B, a, b), with fewer of each: they end in the same place.
_STARTS = tuple(product((-1.0, 0.0, 1.0), (0.0, 5.0, 10.0, 20.0), (0.0, 5.0, 10.0, 20.0), (0.2, 0.5, 1.0), (0.2, 0.5, 1.0)))
_FIRST_STEPS, _KEPT_STARTS, _MOST_STEPS = 40, 16, 400  # all starts for a while, then the best of them to the end
RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Runs:
    """Measured runs, (N,) each: parameters, tokens and the loss at the end. Raises DataError: too few, not above 0, no spread."""

    parameters: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray

    def __post_init__(self) -> None:
        for name in ("parameters", "tokens", "loss"):
            values = getattr(self, name)
            if not (np.isfinite(values) & (values > 0)).all():
                raise DataError(f"scaling: '{name}' of run {int(np.argmin(np.isfinite(values) & (values > 0))) + 1} is not above 0")
        if len(self.loss) < MIN_RUNS:
            raise DataError(f"scaling: {len(self.loss)} runs; the law has 5 constants and needs {MIN_RUNS} runs or more")
        for name in ("parameters", "tokens"):
            if len(np.unique(getattr(self, name))) < 3:
                raise DataError(f"scaling: all runs have one or two numbers of {name}; the law needs 3 or more of each")

    def __len__(self) -> int:
        return len(self.loss)


def fit(runs: Runs, delta: float = DELTA) -> Law:
    """The law whose logarithm is nearest to that of the losses, by the Huber loss, from many starts (Hoffmann et al. 2022, eq. 3).

    Two differences: the losses of runs are summed and the minimiser ends when the sum no longer changes, as Besiroglu et al. 2024 mend
    it; and it is Levenberg-Marquardt with Huber's weights, all starts at once, instead of L-BFGS one after the other.
    """
    once = np.ones((1, len(runs)))
    found, losses = _descend(runs, np.array(_STARTS), once, delta, steps=_FIRST_STEPS)
    found, losses = _descend(runs, found[np.argsort(losses)[:_KEPT_STARTS]], once, delta)
    return _law(found[np.argmin(losses)])


def bootstrap(runs: Runs, law: Law, seed: int, *, resamples: int = RESAMPLES, delta: float = DELTA) -> list[Law]:
    """The laws of runs drawn again with replacement, each found from the law of all runs; the same for the same seed."""
    draw = generator(seed, "scaling law")
    counts = np.stack([np.bincount(draw.integers(len(runs), size=len(runs)), minlength=len(runs)) for _ in range(resamples)])
    start = np.log([law.E, law.A, law.B]).tolist() + [law.a, law.b]
    found, _ = _descend(runs, np.tile(start, (resamples, 1)), counts.astype(np.float64), delta, settled=1e-6)
    return [_law(each) for each in found]


def huber(residual: np.ndarray, delta: float = DELTA) -> np.ndarray:
    """r^2 / 2 near 0, delta (|r| - delta / 2) beyond delta (Huber 1964)."""
    size = np.abs(residual)
    return np.where(size <= delta, residual**2 / 2, delta * (size - delta / 2))


def residuals(runs: Runs, law: Law) -> np.ndarray:
    """log of the law less log of the loss, (N,)."""
    return np.log(law(runs.parameters, runs.tokens)) - np.log(runs.loss)


def _law(constants: np.ndarray) -> Law:
    E, A, B = np.exp(np.clip(constants[:3], -700, 700)).tolist()
    return Law(E, A, B, float(constants[3]), float(constants[4]))


def _descend(
    runs: Runs, starts_SK: np.ndarray, weights_SN: np.ndarray, delta: float, *, steps: int = _MOST_STEPS, settled: float = 1e-12
) -> tuple[np.ndarray, np.ndarray]:
    """S fits at once: constants (S, K = 5: log E, log A, log B, a, b) and their losses (S,).

    weights_SN: how often each run counts. settled: relative change of the loss below which a fit has ended.
    """
    constants_SK, damping_S = starts_SK.astype(np.float64).copy(), np.full(len(starts_SK), 1e-2)
    weights_SN = np.broadcast_to(weights_SN, (len(starts_SK), len(runs)))
    residual_SN, slope_SNK = _linearised(runs, constants_SK)
    loss_S, has_ended_S = (weights_SN * huber(residual_SN, delta)).sum(axis=1), np.zeros(len(starts_SK), bool)
    for _ in range(steps):
        # a quadratic that touches Huber's loss from above, so a step down in it is a step down in the loss
        bound_SN = weights_SN * delta / np.maximum(np.abs(residual_SN), delta)
        weighted_SKN = (slope_SNK * bound_SN[..., None]).transpose(0, 2, 1)
        curve_SKK, pull_SK = weighted_SKN @ slope_SNK, (weighted_SKN @ residual_SN[..., None])[..., 0]
        scale_SK = np.maximum(np.einsum("skk->sk", curve_SKK), 1e-15)
        ridge_SKK = damping_S[:, None, None] * scale_SK[:, :, None] * np.eye(5)
        step_SK = np.linalg.solve(curve_SKK + ridge_SKK, -pull_SK[..., None])[..., 0]
        tried_SK = constants_SK + np.clip(step_SK, -3, 3)
        tried_SN, tried_SNK = _linearised(runs, tried_SK)
        tried_S = (weights_SN * huber(tried_SN, delta)).sum(axis=1)
        is_lower_S = tried_S < loss_S
        gain_S = np.where(is_lower_S, loss_S - tried_S, 0.0)
        constants_SK[is_lower_S], residual_SN[is_lower_S] = tried_SK[is_lower_S], tried_SN[is_lower_S]
        slope_SNK[is_lower_S], loss_S = tried_SNK[is_lower_S], np.where(is_lower_S, tried_S, loss_S)
        damping_S = np.clip(np.where(is_lower_S, damping_S / 5, damping_S * 4), 1e-12, 1e12)
        has_ended_S |= (is_lower_S & (gain_S <= settled * loss_S)) | (damping_S > 1e8)
        if has_ended_S.all():
            break
    return constants_SK, loss_S


def _linearised(runs: Runs, constants_SK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residuals (S, N) and their slopes (S, N, K) in the constants."""
    log_N, log_D = np.log(runs.parameters), np.log(runs.tokens)
    log_E, log_A, log_B, a, b = (constants_SK[:, [column]] for column in range(5))
    terms_TSN = np.stack([np.broadcast_to(log_E, (len(a), len(log_N))), log_A - a * log_N, log_B - b * log_D])
    highest_SN = terms_TSN.max(axis=0)
    total_SN = highest_SN + np.log(np.exp(terms_TSN - highest_SN).sum(axis=0))
    of_E, of_A, of_B = np.exp(terms_TSN - total_SN)
    slope_SNK = np.stack([of_E, of_A, of_B, -of_A * log_N, -of_B * log_D], axis=-1)
    return total_SN - np.log(runs.loss), slope_SNK


@dataclass(frozen=True, slots=True)
class IsoFlop:
    """The vertices of parabolas in log N, one a budget, and the line through them: N* = 10^intercept C^slope."""

    flops: tuple[float, ...]
    parameters: tuple[float, ...]
    slope: float
    intercept: float


def isoflop(flops_N: np.ndarray, parameters_N: np.ndarray, loss_N: np.ndarray) -> IsoFlop:
    """Best size of each budget without a law: a parabola in log N through its runs (Hoffmann et al. 2022, section 3.2).

    Budgets are told apart by their FLOPs to 10 %; one with fewer than 3 sizes, or whose parabola has no minimum among its sizes, says
    nothing. Raises DataError if fewer than 2 budgets say something.
    """
    log_C = np.log10(flops_N)
    order = np.argsort(log_C)
    breaks = np.flatnonzero(np.diff(log_C[order]) > math.log10(1.1)) + 1
    vertices: list[tuple[float, float]] = []
    for chosen in np.split(order, breaks):
        log_N = np.log10(parameters_N[chosen])
        if len(np.unique(log_N)) < 3:
            continue
        middle = log_N.mean()
        square, linear, _ = np.polyfit(log_N - middle, loss_N[chosen], 2)
        vertex = middle - linear / (2 * square) if square > 0 else math.inf
        if log_N.min() <= vertex <= log_N.max():
            vertices.append((float(log_C[chosen].mean()), float(vertex)))
    if len(vertices) < 2:
        raise DataError(f"isoflop: {len(vertices)} budgets have 3 sizes or more with the lowest loss among them; 2 are needed")
    at_C, at_N = np.array(vertices).T
    slope, intercept = np.polyfit(at_C, at_N, 1)
    return IsoFlop(tuple((10.0**at_C).tolist()), tuple((10.0**at_N).tolist()), float(slope), float(intercept))
