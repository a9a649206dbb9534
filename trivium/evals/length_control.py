"""AlpacaEval's length-controlled win rate: what a judge would prefer if both answers were equally long.

Dubois et al. 2024, arXiv:2404.04475, eq. 2: the log-odds that model m's answer to instruction x is preferred to the baseline's are
theta_m + phi_m tanh(d / std(d)) + psi_m gamma_x, with d the difference of lengths; the length-controlled win rate leaves phi out. Exactly
100 - the baseline's own, and 50 for the baseline itself. Differences: ridge of a fixed weight instead of one that is chosen by
cross-validation; gamma is fitted on the models that are given (there: on all of the leaderboard, once).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trivium.core.errors import DataError
from trivium.core.seeds import generator

RIDGE = 1.0  # on phi and psi, in units of one preference; theta has a hundredth
_ROUNDS, _STEPS, _MOST = 20, 50, 30.0


@dataclass(frozen=True, slots=True)
class Judged:
    """One model against the baseline: the probability that its answer is preferred, 0 to 1, and its length minus the other's."""

    preferred_N: np.ndarray
    longer_N: np.ndarray

    @property
    def win_rate(self) -> float:
        """In percent, as it is."""
        return 100 * float(self.preferred_N.mean())


@dataclass(frozen=True, slots=True)
class LengthControlled:
    """win_rate, in percent, without the effect of length; theta, phi (of length) and psi (of difficulty) of the fit."""

    win_rate: float
    theta: float
    phi: float
    psi: float


def judged(preferred: Sequence[float], lengths: Sequence[int], baseline_lengths: Sequence[int]) -> Judged:
    """Preferences from 0 (baseline) to 1 with the lengths of both answers. Raises DataError: other ranges, other numbers of them."""
    preferred_N = np.asarray(preferred, np.float64)
    if not len(preferred_N) == len(lengths) == len(baseline_lengths) or not len(preferred_N):
        raise DataError(
            f"length control: {len(preferred_N)} preferences, {len(lengths)} and {len(baseline_lengths)} lengths; one each is needed"
        )
    if not ((preferred_N >= 0) & (preferred_N <= 1)).all():
        raise DataError("length control: a preference is not between 0 (the baseline's answer) and 1 (the model's)")
    return Judged(preferred_N, np.asarray(lengths, np.float64) - np.asarray(baseline_lengths, np.float64))


def length_controlled(models: Mapping[str, Judged], difficulty_N: np.ndarray | None = None) -> dict[str, LengthControlled]:
    """The length-controlled win rate of each model, all on the same instructions.

    difficulty_N: gamma of each instruction; None: fitted with the models, or 0 for a single one. Costs O(models * instructions).
    """
    fits, gamma_N = {}, difficulty_N
    if gamma_N is None:
        gamma_N = _difficulty(list(models.values()))
    for name, one in models.items():
        theta, phi, psi = _fit(one, gamma_N)
        fits[name] = LengthControlled(100 * float(_sigmoid(theta + psi * gamma_N).mean()), theta, phi, psi)
    return fits


def interval(one: Judged, seed: int, *, resamples: int = 500) -> tuple[float, float, float]:
    """A single model's length-controlled share, 0 to 1, with its 95 % percentile interval over resampled instructions."""
    draw, size, gamma_N = generator(seed, "length control"), len(one.preferred_N), np.zeros(len(one.preferred_N))
    shares = []
    for _ in range(resamples):
        chosen = draw.integers(size, size=size)
        shares.append(_sigmoid(np.array(_fit(Judged(one.preferred_N[chosen], one.longer_N[chosen]), gamma_N)[0])))
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(_sigmoid(np.array(_fit(one, gamma_N)[0]))), float(low), float(high)


def _difficulty(models: Sequence[Judged]) -> np.ndarray:
    """gamma with mean 0 and deviation 1, in turns with the models' own parameters; 0 where one model cannot tell it from chance."""
    size = len(models[0].preferred_N)
    if len(models) < 2:
        return np.zeros(size)
    gamma_N = _standard(np.mean([_logit(one.preferred_N) for one in models], axis=0))
    for _ in range(_ROUNDS):
        slope_N, curve_N = -gamma_N.copy(), np.ones(size)  # the prior: N(0, 1)
        for one in models:
            theta, phi, psi = _fit(one, gamma_N)
            p_N = _sigmoid(theta + phi * _length(one) + psi * gamma_N)
            slope_N += psi * (one.preferred_N - p_N)
            curve_N += psi**2 * p_N * (1 - p_N)
        gamma_N = _standard(gamma_N + slope_N / curve_N)
    return gamma_N


def _fit(one: Judged, gamma_N: np.ndarray) -> tuple[float, float, float]:
    """theta, phi and psi: a ridge logistic regression on soft labels by Newton's method."""
    features_NK = np.stack([np.ones(len(gamma_N)), _length(one), gamma_N], axis=1)
    ridge_K = RIDGE * np.array([0.01, 1.0, 1.0])
    weights_K = np.zeros(3)
    for _ in range(_STEPS):
        p_N = _sigmoid(features_NK @ weights_K)
        slope_K = features_NK.T @ (one.preferred_N - p_N) - ridge_K * weights_K
        curve_KK = (features_NK * (p_N * (1 - p_N))[:, None]).T @ features_NK + np.diag(ridge_K)
        step_K = np.linalg.solve(curve_KK, slope_K)
        weights_K = weights_K + step_K * min(1.0, 2.0 / max(float(np.abs(step_K).max()), 1e-12))
        if np.abs(step_K).max() < 1e-10:
            break
    theta, phi, psi = weights_K.tolist()
    return theta, phi, psi


def _length(one: Judged) -> np.ndarray:
    """tanh of the difference of lengths over its deviation; 0 where lengths are all equal."""
    spread = float(one.longer_N.std())
    return np.tanh(one.longer_N / spread) if spread > 0 else np.zeros(len(one.longer_N))


def _standard(x_N: np.ndarray) -> np.ndarray:
    spread = float(x_N.std())
    return (x_N - x_N.mean()) / spread if spread > 0 else np.zeros(len(x_N))


def _sigmoid(x_N: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x_N, -_MOST, _MOST)))


def _logit(p_N: np.ndarray) -> np.ndarray:
    p_N = np.clip(p_N, 0.02, 0.98)
    return np.log(p_N / (1 - p_N))
