"""Bradley-Terry strengths by maximum likelihood, of models alone or as a function of the prompt, beside covariates of the answers.

Bradley and Terry 1952, Biometrika 39:324: the odds that a beats b are exp(strength of a - strength of b). The strength of a model on a
prompt is W z, where z are D features of the prompt; with z = 1 it is a number, the usual model. Covariates x, such as how much longer
the first answer is, add beta x to the gap. Newton's method: a handful of steps, each O(N D^2 + (M D)^3); one maximum.
"""

from dataclasses import dataclass

import numpy as np

from trivium.score.ranking.ties import LIKELIHOODS, START, Likelihood, Ties, expected_score

SEPARATED = 0.1  # ridge where the likelihood has no maximum: strengths are then drawn from a normal of deviation 3.2, 550 points of Elo
_STEPS, _CLOSE = 100, 1e-11


@dataclass(frozen=True, slots=True)
class Data:
    """What strengths are fitted to. z_ND: features of the prompts; x_NF: covariates of the matches; weight_N: how often each counts."""

    first_N: np.ndarray
    second_N: np.ndarray
    score_N: np.ndarray
    num_models: int
    weight_N: np.ndarray
    z_ND: np.ndarray
    x_NF: np.ndarray


@dataclass(frozen=True, slots=True)
class Penalty:
    """Ridge of the weights of each feature, (D,), and of covariates: half of it times their square is taken from the log-likelihood."""

    ridge_D: np.ndarray
    covariate_ridge: float = 0.0


@dataclass(frozen=True, slots=True)
class Strengths:
    """weights_MD: of which every column sums to 0. covariates_F: of the gap. tie: the parameter of draws.

    curvature_PP: the negative second derivative of the penalised log-likelihood by all parameters (weights row by row, covariates, tie).
    """

    weights_MD: np.ndarray
    covariates_F: np.ndarray
    ties: Ties
    tie: float
    value: float
    curvature_PP: np.ndarray

    def of(self, z_PD: np.ndarray) -> np.ndarray:
        """The strength of every model on prompts, (P, M)."""
        return z_PD @ self.weights_MD.T

    def expected(self, first_N: np.ndarray, second_N: np.ndarray, z_ND: np.ndarray, x_NF: np.ndarray | None = None) -> np.ndarray:
        """The expected score of the first of each match, (N,)."""
        gap_N = ((self.weights_MD[first_N] - self.weights_MD[second_N]) * z_ND).sum(1)
        return expected_score(gap_N if x_NF is None else gap_N + x_NF @ self.covariates_F, self.ties, self.tie)


def data_of(
    first_N: np.ndarray, second_N: np.ndarray, score_N: np.ndarray, num_models: int, *,
    weight_N: np.ndarray | None = None, z_ND: np.ndarray | None = None, x_NF: np.ndarray | None = None,
) -> Data:  # fmt: skip
    """Data with what is not given filled in: every match counts once, no features but 1, no covariates."""
    n = len(score_N)
    return Data(
        first_N, second_N, score_N, num_models,
        np.ones(n) if weight_N is None else weight_N,
        np.ones((n, 1)) if z_ND is None else z_ND,
        np.zeros((n, 0)) if x_NF is None else x_NF,
    )  # fmt: skip


def fit(data: Data, *, ties: Ties = "half", penalty: Penalty | None = None, start: Strengths | None = None) -> Strengths:
    """The strengths that make the scores likeliest. start: where to begin, for data that are nearly the same.

    The caller makes sure that there is a maximum (`has_finite_strengths`), or gives a ridge.
    """
    problem = _Problem(data, ties, penalty or Penalty(np.zeros(data.z_ND.shape[1])))
    place_P = problem.start() if start is None else problem.joined(start)
    value, slope_P, curve_PP = problem.at(place_P)
    scale = max(1.0, float(data.weight_N.sum()))
    for _ in range(_STEPS):
        if np.abs(slope_P).max() <= _CLOSE * scale:
            break
        step_P = np.linalg.solve(curve_PP + problem.gauge(curve_PP), slope_P)
        better = problem.along(place_P, step_P, value)
        if better is None:
            break
        place_P, value = better
        value, slope_P, curve_PP = problem.at(place_P)
    weights_MD, covariates_F, tie = problem.parts(place_P)
    return Strengths(weights_MD - weights_MD.mean(0), covariates_F, ties, tie, value, curve_PP)


def slopes_by_cluster(data: Data, found: Strengths, cluster_N: np.ndarray) -> np.ndarray:
    """The slope of the log-likelihood at the maximum, summed over the matches of each cluster, (C, P): what the sandwich is filled with."""
    problem = _Problem(data, found.ties, Penalty(np.zeros(data.z_ND.shape[1])))
    likely = problem.likely(found.weights_MD, found.covariates_F, found.tie)
    num_clusters, width = int(cluster_N.max()) + 1, data.z_ND.shape[1]
    by_model = np.zeros((num_clusters, data.num_models, width))
    pull_ND = (data.weight_N * likely.slope)[:, None] * data.z_ND
    np.add.at(by_model, (cluster_N, data.first_N), pull_ND)
    np.subtract.at(by_model, (cluster_N, data.second_N), pull_ND)
    others = [(data.weight_N * likely.slope)[:, None] * data.x_NF]
    if found.ties != "half":
        others.append((data.weight_N * likely.tie_slope)[:, None])
    rest_NX = np.concatenate(others, axis=1)
    rest = np.zeros((num_clusters, rest_NX.shape[1]))
    np.add.at(rest, cluster_N, rest_NX)
    return np.concatenate([by_model.reshape(num_clusters, -1), rest], axis=1)


class _Problem:
    """The penalised log-likelihood as a function of one vector: weights row by row, covariates, the parameter of draws if it has one."""

    def __init__(self, data: Data, ties: Ties, penalty: Penalty) -> None:
        self.data, self.ties = data, ties
        self.width, self.num_covariates = data.z_ND.shape[1], data.x_NF.shape[1]
        self.num_weights = data.num_models * self.width
        self.num_ties = int(ties != "half")
        self.ridge_P = np.concatenate([
            np.tile(penalty.ridge_D, data.num_models), np.full(self.num_covariates, penalty.covariate_ridge), np.zeros(self.num_ties),
        ])  # fmt: skip
        code_N = data.first_N * data.num_models + data.second_N
        order = np.argsort(code_N, kind="stable")
        codes, begin = np.unique(code_N[order], return_index=True)
        self.pairs = [
            (*divmod(int(code), data.num_models), part) for code, part in zip(codes, np.split(order, begin[1:]), strict=True)
        ]  # fmt: skip

    def start(self) -> np.ndarray:
        place_P = np.zeros(len(self.ridge_P))
        place_P[self.num_weights + self.num_covariates :] = START[self.ties]
        return place_P

    def joined(self, found: Strengths) -> np.ndarray:
        return np.concatenate([found.weights_MD.ravel(), found.covariates_F, np.full(self.num_ties, found.tie)])

    def parts(self, place_P: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        end = self.num_weights + self.num_covariates
        weights_MD = place_P[: self.num_weights].reshape(self.data.num_models, self.width)
        return weights_MD, place_P[self.num_weights : end], float(place_P[end]) if self.num_ties else 0.0

    def likely(self, weights_MD: np.ndarray, covariates_F: np.ndarray, tie: float) -> Likelihood:
        data = self.data
        gap_N = ((weights_MD[data.first_N] - weights_MD[data.second_N]) * data.z_ND).sum(1) + data.x_NF @ covariates_F
        return LIKELIHOODS[self.ties](gap_N, data.score_N, tie)

    def value(self, place_P: np.ndarray) -> float:
        likely = self.likely(*self.parts(place_P))
        return float(self.data.weight_N @ likely.value - self.ridge_P @ place_P**2 / 2)

    def along(self, place_P: np.ndarray, step_P: np.ndarray, value: float) -> tuple[np.ndarray, float] | None:
        """The first place along a step, halved and halved again, that is no worse; None if there is none, at the maximum."""
        for halving in range(30):
            place = place_P + step_P / 2**halving
            there = self.value(place)
            if there >= value:
                return (place, there) if there > value or halving == 0 else None
        return None

    def at(self, place_P: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Value, slope and curvature; both by pairs of models, so that no matrix of N by M D is made."""
        data, width = self.data, self.width
        likely = self.likely(*self.parts(place_P))
        pull_N, bend_N = data.weight_N * likely.slope, data.weight_N * likely.curve
        rest_NX = np.concatenate([data.x_NF, np.zeros((len(pull_N), self.num_ties))], axis=1)
        bent_NX = bend_N[:, None] * rest_NX
        if self.num_ties:
            bent_NX[:, -1] = data.weight_N * likely.mixed_curve
        slope_MD = np.zeros((data.num_models, width))
        curve = np.zeros((data.num_models, width, data.num_models, width))
        mixed = np.zeros((data.num_models, width, rest_NX.shape[1]))
        for a, b, part in self.pairs:
            z_XD = data.z_ND[part]
            pull_D, bend_DD, mix_DX = pull_N[part] @ z_XD, (bend_N[part, None] * z_XD).T @ z_XD, z_XD.T @ bent_NX[part]
            slope_MD[a] += pull_D
            slope_MD[b] -= pull_D
            curve[a, :, a] += bend_DD
            curve[b, :, b] += bend_DD
            curve[a, :, b] -= bend_DD
            curve[b, :, a] -= bend_DD
            mixed[a] += mix_DX
            mixed[b] -= mix_DX
        rest_slope = pull_N @ rest_NX
        rest_curve = rest_NX.T @ bent_NX
        if self.num_ties:
            rest_slope[-1] = data.weight_N @ likely.tie_slope
            rest_curve[-1] = rest_curve[:, -1] = np.append(data.x_NF.T @ bent_NX[:, -1], data.weight_N @ likely.tie_curve)
        side = mixed.reshape(self.num_weights, -1)
        curve_PP = np.block([[curve.reshape(self.num_weights, -1), side], [side.T, rest_curve]])
        value = float(data.weight_N @ likely.value - self.ridge_P @ place_P**2 / 2)
        return value, np.concatenate([slope_MD.ravel(), rest_slope]) - self.ridge_P * place_P, curve_PP + np.diag(self.ridge_P)

    def gauge(self, curve_PP: np.ndarray) -> np.ndarray:
        """Curvature where the likelihood has none: a number added to the strengths of all models changes nothing."""
        same = np.kron(np.ones((self.data.num_models,) * 2) / self.data.num_models, np.eye(self.width))
        added = np.zeros_like(curve_PP)
        added[: self.num_weights, : self.num_weights] = same * max(float(np.diag(curve_PP)[: self.num_weights].mean()), 1e-12)
        return added
