"""How sure strengths are: by the curvature of the likelihood, by how the matches of a prompt agree, or by drawing prompts again."""

from typing import Literal

import numpy as np

from trivium.core.seeds import generator
from trivium.report.intervals import Z_95
from trivium.score.ranking.strengths import SEPARATED, Data, Penalty, Strengths, data_of, fit, slopes_by_cluster
from trivium.score.ranking.table import has_finite_strengths
from trivium.score.ranking.ties import Ties

Intervals = Literal["bootstrap", "sandwich", "analytic"]
RESAMPLES = 200


def penalty_of(data: Data, covariate_ridge: float) -> Penalty:
    """No ridge where the likelihood has a maximum, else the one that gives it one."""
    return Penalty(np.full(data.z_ND.shape[1], SEPARATED if is_separated(data) else 0.0), covariate_ridge)


def is_separated(data: Data) -> bool:
    """Whether some model won or lost all that it played, or a group of them did, so that the likelihood has no maximum."""
    played = data.weight_N > 0
    return not has_finite_strengths(data.first_N[played], data.second_N[played], data.score_N[played], data.num_models)


def analytic(found: Strengths, contrast_XM: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % intervals of sums of strengths, by the inverse of the curvature: right if the model is, and matches are independent."""
    return _normal(found, contrast_XM, _inverse(found))


def sandwich(data: Data, found: Strengths, cluster_N: np.ndarray, contrast_XM: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same where matches of a cluster, such as a prompt, may be alike, and the model may be wrong.

    Huber 1967, "The behavior of maximum likelihood estimates under nonstandard conditions"; Liang and Zeger 1986, Biometrika 73:13, with
    C / (C - 1) for C clusters.
    """
    slope_CP = slopes_by_cluster(data, found, cluster_N)
    num_clusters = max(2, int((np.abs(slope_CP).sum(1) > 0).sum()))
    bread_PP = _inverse(found)
    return _normal(found, contrast_XM, bread_PP @ (slope_CP.T @ slope_CP) @ bread_PP * num_clusters / (num_clusters - 1))


def bootstrap(
    data: Data, found: Strengths, cluster_N: np.ndarray, contrast_XM: np.ndarray, *, covariate_ridge: float, seed: int,
    resamples: int = RESAMPLES,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The same as percentiles over resampled clusters, fitted anew each; (X,) each. Efron and Tibshirani 1993, ch. 13.

    Without covariates matches that are the same are counted first, which changes nothing but the time.
    """
    draw, num_clusters = generator(seed, "bootstrap of matches"), int(cluster_N.max()) + 1
    drawn_RX = np.empty((resamples, len(contrast_XM)))
    same_N, same = _same(data)
    for number in range(resamples):
        count_C = np.bincount(draw.integers(num_clusters, size=num_clusters), minlength=num_clusters)
        weight_N = data.weight_N * count_C[cluster_N]
        again = _weighted(data, weight_N) if same is None else _weighted(same, np.bincount(same_N, weight_N, len(same.score_N)))
        fitted = fit(again, ties=found.ties, penalty=penalty_of(again, covariate_ridge), start=found)
        drawn_RX[number] = contrast_XM @ fitted.weights_MD[:, 0]
    low_X, high_X = np.quantile(drawn_RX, [0.025, 0.975], axis=0)
    return low_X, high_X


def against_mean(num_models: int) -> np.ndarray:
    """Each strength against the mean of all, as a matrix (M, M)."""
    return np.eye(num_models) - 1 / num_models


def against(num_models: int, anchor: int) -> np.ndarray:
    """Each strength against that of one model."""
    contrast_MM = np.eye(num_models)
    contrast_MM[:, anchor] -= 1
    return contrast_MM


def _normal(found: Strengths, contrast_XM: np.ndarray, covariance_PP: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    count = contrast_XM.shape[1]
    middle_X = contrast_XM @ found.weights_MD[:, 0]
    half_X = Z_95 * np.sqrt(np.maximum(np.einsum("xm,mn,xn->x", contrast_XM, covariance_PP[:count, :count], contrast_XM), 0))
    return middle_X - half_X, middle_X + half_X


def _inverse(found: Strengths) -> np.ndarray:
    """Of the curvature, but for the direction in which it has none: the same number added to all strengths."""
    return np.linalg.pinv(found.curvature_PP, rcond=1e-10, hermitian=True)


def _weighted(data: Data, weight_N: np.ndarray) -> Data:
    kept = weight_N > 0
    return Data(
        data.first_N[kept], data.second_N[kept], data.score_N[kept], data.num_models, weight_N[kept], data.z_ND[kept], data.x_NF[kept]
    )


def _same(data: Data) -> tuple[np.ndarray, Data | None]:
    """For each match the number of its kind, and the kinds; None where that saves nothing."""
    if data.x_NF.shape[1]:
        return np.zeros(0, np.int64), None
    kinds, index_N = np.unique(np.stack([data.first_N, data.second_N, data.score_N], axis=1), axis=0, return_inverse=True)
    if len(kinds) > len(index_N) / 2:
        return np.zeros(0, np.int64), None
    first, second = kinds[:, 0].astype(np.int64), kinds[:, 1].astype(np.int64)
    return index_N.ravel(), data_of(first, second, kinds[:, 2], data.num_models)


def ties_of(ties: Ties) -> str:
    """How draws are read, in words."""
    return {"half": "a draw is half a win", "davidson": "draws by Davidson", "rao_kupper": "draws by Rao and Kupper"}[ties]
