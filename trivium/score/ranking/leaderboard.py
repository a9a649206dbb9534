"""The table of a ranking: ratings with intervals, ranks that say how many models are surely better, and how well they predict."""

from dataclasses import dataclass

import numpy as np

from trivium.core.errors import DataError
from trivium.core.seeds import key, uniforms
from trivium.report.intervals import clustered_share_interval
from trivium.score.calibration import per_cluster
from trivium.score.ranking.elo import elo_expected, elo_over_orders, online_elo
from trivium.score.ranking.strengths import Data, Strengths, data_of, fit
from trivium.score.ranking.style import Style, style_covariates
from trivium.score.ranking.table import MatchTable, check_connected
from trivium.score.ranking.ties import Ties, check_ties
from trivium.score.ranking.uncertainty import (
    RESAMPLES,
    Intervals,
    against,
    against_mean,
    analytic,
    bootstrap,
    is_separated,
    penalty_of,
    sandwich,
)

POINTS = 400 / np.log(10)  # of Elo in one nat of strength
MIDDLE = 1000.0
STYLE_RIDGE = 0.5  # Chiang et al. 2024: of the coefficients of style
HELDOUT_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Anchor:
    """A model whose rating is given; without one the mean rating is 1000."""

    model: str
    rating: float = MIDDLE


@dataclass(frozen=True, slots=True)
class Place:
    """A model in the table. rank: 1 + how many models have an interval above its own. elo: the mean over orders of the matches."""

    model: str
    rank: int
    rating: float
    low: float
    high: float
    elo: float
    elo_low: float
    elo_high: float
    elo_in_order: float
    matches: int
    score: float


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Places, best first. style: covariate -> its coefficient in points a deviation. is_separated: some model won or lost all."""

    places: tuple[Place, ...]
    style: dict[str, float]
    tie: float
    is_separated: bool


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Which share of held-out matches that are no draws a ranking puts right, with its interval by prompts; n: how many there are."""

    measure: str
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class How:
    """How strengths are fitted and how sure they are."""

    ties: Ties = "half"
    control: tuple[Style, ...] = ()
    intervals: Intervals = "bootstrap"
    anchor: Anchor | None = None
    resamples: int = RESAMPLES


def leaderboard(table: MatchTable, how: How, *, seed: int) -> Leaderboard:
    """Rank all models. Raises DataError if they cannot be compared, or the matches lack what `how` reads."""
    check_connected(table)
    check_ties(how.ties, table.score_N)
    data, found = fitted(table, how, style_covariates(table, how.control))
    m = table.num_models
    contrast_MM = against_mean(m) if how.anchor is None else against(m, table.number(how.anchor.model))
    base = MIDDLE if how.anchor is None else how.anchor.rating
    low_M, high_M = _interval(data, found, table.prompt_N, contrast_MM, how, seed)
    rating_M, low_M, high_M = (base + POINTS * x for x in (contrast_MM @ found.weights_MD[:, 0], low_M, high_M))
    elo_M, elo_low_M, elo_high_M = elo_over_orders(table, seed=seed)
    in_order_M = online_elo(table)
    played_M = np.bincount(table.first_N, minlength=m) + np.bincount(table.second_N, minlength=m)
    won_M = np.bincount(table.first_N, table.score_N, m) + np.bincount(table.second_N, 1 - table.score_N, m)
    places = [
        Place(
            table.models[i], 1 + int((low_M > high_M[i]).sum()), float(rating_M[i]), float(low_M[i]), float(high_M[i]), float(elo_M[i]),
            float(elo_low_M[i]), float(elo_high_M[i]), float(in_order_M[i]), int(played_M[i]), float(won_M[i] / played_M[i]),
        )
        for i in np.argsort(-rating_M, kind="stable").tolist()
    ]  # fmt: skip
    style: dict[str, float] = dict(zip(how.control, (POINTS * found.covariates_F).tolist(), strict=True))
    return Leaderboard(tuple(places), style, found.tie, is_separated=is_separated(data))


def fitted(table: MatchTable, how: How, x_NF: np.ndarray) -> tuple[Data, Strengths]:
    """The strengths of the models beside covariates of the matches, and what they were fitted to."""
    data = data_of(table.first_N, table.second_N, table.score_N, table.num_models, x_NF=x_NF)
    return data, fit(data, ties=how.ties, penalty=penalty_of(data, STYLE_RIDGE))


def heldout_accuracy(table: MatchTable, how: How, *, seed: int) -> list[HeldOut]:
    """Bradley-Terry and Elo, fitted to nine tenths of the prompts, on the matches of the rest (Chiang et al. 2024, section 6).

    Nothing where that leaves too little: a model that is not in the nine tenths, or no match with a winner in the rest.
    """
    held_N = heldout_prompts(table, HELDOUT_SHARE, seed)[table.prompt_N]
    is_test_N = held_N & (table.score_N != 0.5)
    rest, test, x_NF = table.where(~held_N), table.where(is_test_N), style_covariates(table, how.control)
    if not len(test) or len(np.union1d(rest.first_N, rest.second_N)) < table.num_models:
        return []
    try:
        check_connected(rest)
        check_ties(how.ties, rest.score_N)
    except DataError:
        return []
    _, found = fitted(rest, how, x_NF[~held_N])
    rating_M = online_elo(rest)
    gap_N = found.expected(test.first_N, test.second_N, np.ones((len(test), 1)), x_NF[is_test_N]) - 0.5
    gaps = {"bradley_terry_accuracy": gap_N, "elo_accuracy": elo_expected(rating_M[test.first_N], rating_M[test.second_N]) - 0.5}
    return [HeldOut(name, *share_right(gap, test), len(test)) for name, gap in gaps.items()]


def share_right(ahead_N: np.ndarray, test: MatchTable) -> tuple[float, float, float]:
    """The share of matches whose winner was put ahead, with its 95 % interval by prompts; no opinion is half right."""
    right_N = np.where(ahead_N == 0, 0.5, (ahead_N > 0) == (test.score_N > 0.5))
    return clustered_share_interval(*per_cluster(right_N, test.prompt_N))


def heldout_prompts(table: MatchTable, share: float, seed: int) -> np.ndarray:
    """Which prompts are held out, (P,) bool: the same for the same seed and table."""
    lots_P = uniforms(key(seed, "held out prompts"), np.arange(table.num_prompts), np.zeros(table.num_prompts, np.int64))
    chosen_P = np.zeros(table.num_prompts, bool)
    chosen_P[np.argsort(lots_P)[: round(share * table.num_prompts)]] = True
    return chosen_P


def _interval(
    data: Data, found: Strengths, cluster_N: np.ndarray, contrast_MM: np.ndarray, how: How, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    if how.intervals == "analytic":
        return analytic(found, contrast_MM)
    if how.intervals == "sandwich":
        low_M, high_M = sandwich(data, found, cluster_N, contrast_MM)
    else:
        low_M, high_M = bootstrap(data, found, cluster_N, contrast_MM, covariate_ridge=STYLE_RIDGE, seed=seed, resamples=how.resamples)
    if not is_separated(data) and len(np.unique(cluster_N)) > 1:
        return low_M, high_M
    least_M, most_M = analytic(found, contrast_MM)  # what always came out alike shows no spread, which is not to be sure
    return np.minimum(low_M, least_M), np.maximum(high_M, most_M)
