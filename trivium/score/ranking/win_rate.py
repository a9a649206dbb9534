"""AlpacaEval's win rates against a baseline, as judged and as they would be if both answers were equally long.

Dubois et al. 2024, arXiv:2404.04475, eq. 2: logit P(model m wins on x) = theta_m + phi_m tanh(length difference / its deviation) + psi_m
gamma_x, and the length-controlled win rate is the mean over x with a length difference of 0. gamma_x, how hard x is for all, is found
in a fit of all models together with psi = 1, then each model has a fit of its own, so adding a model changes no other. Differences:
ridges instead of cross-validated penalties, gamma from the matches at hand instead of the published file, and no prior against
baselines that were told to be brief or long.
"""

from dataclasses import dataclass

import numpy as np

from trivium.core.seeds import generator
from trivium.report.intervals import is_almost_constant, mean_interval, share_interval
from trivium.score.ranking.strengths import Penalty, data_of, fit
from trivium.score.ranking.table import MatchTable
from trivium.score.ranking.ties import sigmoid

HARDNESS_RIDGE, OWN_RIDGE = 1.0, 0.01
LENGTH_RIDGE = 3.0  # of phi: with it the rates of 19 models are 1.4 points from the published ones on average, without 1.7 (630 prompts)
RESAMPLES = 200
_ROUNDS = 200


@dataclass(frozen=True, slots=True)
class WinRate:
    """In per cent of the matches against the baseline; controlled: with lengths taken out, None where answers are not known."""

    model: str
    raw: float
    low: float | None
    high: float | None
    controlled: float | None
    matches: int


def win_rates(table: MatchTable, baseline: str) -> list[WinRate]:
    """Every model that met the baseline, best first. The raw rate is the mean score, a draw counts half.

    Its interval is over matches: of wins, draws and losses Wilson's, of chances to win Student's.
    """
    base = table.number(baseline)
    faced = table.where((table.first_N == base) | (table.second_N == base))
    flipped = faced.first_N == base
    model_N = np.where(flipped, faced.second_N, faced.first_N)
    score_N = np.where(flipped, 1 - faced.score_N, faced.score_N)
    controlled = dict.fromkeys(np.unique(model_N).tolist())
    if all(pair is not None for pair in faced.answers):
        lengths_N2 = np.array([(len(a), len(b)) for a, b in filter(None, faced.answers)], np.float64)
        longer_N = np.where(flipped, -1, 1) * (lengths_N2[:, 0] - lengths_N2[:, 1])
        controlled |= length_controlled(model_N, faced.prompt_N, score_N, longer_N)
    found = []
    for model in np.unique(model_N).tolist():
        mine_N = score_N[model_N == model]
        is_decided = np.isin(mine_N, (0.0, 0.5, 1.0)).all()
        rate = share_interval(float(mine_N.sum()), len(mine_N)) if is_decided else mean_interval(mine_N.tolist())
        raw, low, high = (None if end is None else 100 * end for end in rate)
        assert raw is not None
        found.append(WinRate(table.models[model], raw, low, high, controlled[model], len(mine_N)))
    return sorted(found, key=lambda rate: -rate.raw)


def controlled_interval(score_N: np.ndarray, longer_N: np.ndarray, seed: int) -> tuple[float, float, float]:
    """The length-controlled share, 0 to 1, of one model on its own, and its 95 % percentile interval over resampled prompts.

    Where almost all prompts have the same winner, at least as wide as the score interval of so many trials.
    """
    draw, size = generator(seed, "length control"), len(score_N)

    def share(places: np.ndarray) -> float:
        return length_controlled(np.zeros(size, np.int64), np.arange(size), score_N[places], longer_N[places])[0] / 100

    low, high = np.quantile([share(draw.integers(size, size=size)) for _ in range(RESAMPLES)], [0.025, 0.975])
    controlled = share(np.arange(size))
    if is_almost_constant(score_N):
        _, least, most = share_interval(controlled * size, size)
        low, high = min(low, least), max(high, most)
    return controlled, float(low), float(high)


def length_controlled(model_N: np.ndarray, prompt_N: np.ndarray, score_N: np.ndarray, longer_N: np.ndarray) -> dict[int, float]:
    """model -> its win rate in per cent with equal lengths. longer_N: by how much its answer is longer than the baseline's."""
    _, place_N = np.unique(prompt_N, return_inverse=True)
    deviation = {model: max(float(longer_N[model_N == model].std()), 1e-12) for model in np.unique(model_N).tolist()}
    bent_N = np.tanh(longer_N / np.array([deviation[model] for model in model_N.tolist()]))
    hardness_P = _hardness(model_N, place_N, score_N, bent_N)
    return {model: _controlled(place_N, score_N, bent_N, hardness_P, model_N == model) for model in deviation}


def _hardness(model_N: np.ndarray, place_N: np.ndarray, score_N: np.ndarray, bent_N: np.ndarray) -> np.ndarray:
    """gamma_x of the common fit, by turns: each prompt's number, then each model's two. The prompts' mean is 0."""
    gamma_P = np.zeros(int(place_N.max()) + 1)
    models = np.unique(model_N).tolist()
    base_N = np.zeros(len(score_N))
    own = {model: np.zeros(2) for model in models}
    if len(models) == 1:
        return gamma_P  # how hard a prompt is for all cannot be told from one
    for _ in range(_ROUNDS):
        before = gamma_P
        for model in models:
            mine = model_N == model
            x_N2 = np.stack([np.ones(mine.sum()), bent_N[mine]], axis=1)
            own[model] = _logistic_step(x_N2, score_N[mine], gamma_P[place_N[mine]], own[model])
            base_N[mine] = own[model][0] + own[model][1] * bent_N[mine]
        won_N = sigmoid(base_N + gamma_P[place_N])
        slope_P = np.bincount(place_N, score_N - won_N) - HARDNESS_RIDGE * gamma_P
        gamma_P = gamma_P + slope_P / (np.bincount(place_N, won_N * (1 - won_N)) + HARDNESS_RIDGE)
        gamma_P = gamma_P - gamma_P.mean()
        if np.abs(gamma_P - before).max() < 1e-6:
            break
    return gamma_P


def _logistic_step(x_NF: np.ndarray, score_N: np.ndarray, offset_N: np.ndarray, start_F: np.ndarray) -> np.ndarray:
    """One Newton step of a ridge-penalised logistic regression with an offset; the caller takes turns."""
    won_N = sigmoid(x_NF @ start_F + offset_N)
    curve = (x_NF.T * (won_N * (1 - won_N))) @ x_NF + OWN_RIDGE * np.eye(x_NF.shape[1])
    return start_F + np.linalg.solve(curve, x_NF.T @ (score_N - won_N) - OWN_RIDGE * start_F)


def _controlled(place_N: np.ndarray, score_N: np.ndarray, bent_N: np.ndarray, hardness_P: np.ndarray, mine: np.ndarray) -> float:
    """A model's own fit, as a match of two: it and the baseline, whose strengths are functions of (1, length, hardness)."""
    hard_N = hardness_P[place_N[mine]]
    z_N3 = np.stack([np.ones(mine.sum()), bent_N[mine], hard_N], axis=1)
    zeros = np.zeros(len(z_N3), np.int64)
    found = fit(data_of(zeros, zeros + 1, score_N[mine], 2, z_ND=z_N3), penalty=Penalty(np.array([OWN_RIDGE, LENGTH_RIDGE, OWN_RIDGE])))
    theta, _, psi = (found.weights_MD[0] - found.weights_MD[1]).tolist()
    return 100 * float(sigmoid(theta + psi * hard_N).mean())
