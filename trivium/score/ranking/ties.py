"""How likely a win, a draw and a loss are, by the gap in strength: three readings of Bradley and Terry, each with its slopes.

gap_N: how much stronger the first is, in log-odds. Likelihood: value, slope and curvature (the negative second derivative) of each
match by the gap and by the parameter of draws, all (N,). In each the log-likelihood is concave, so its maximum is one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from trivium.core.errors import DataError

Ties = Literal["half", "davidson", "rao_kupper"]


@dataclass(frozen=True, slots=True)
class Likelihood:
    """tie_...: zero where draws have no parameter."""

    value: np.ndarray
    slope: np.ndarray
    curve: np.ndarray
    tie_slope: np.ndarray
    tie_curve: np.ndarray
    mixed_curve: np.ndarray


def half(gap_N: np.ndarray, score_N: np.ndarray, tie: float = 0.0) -> Likelihood:
    """A draw is half a win: log-loss of sigmoid(gap) against the score, which may be any number from 0 to 1."""
    del tie
    won_N, nothing = sigmoid(gap_N), np.zeros_like(gap_N)
    value = score_N * _log_sigmoid(gap_N) + (1 - score_N) * _log_sigmoid(-gap_N)
    return Likelihood(value, score_N - won_N, won_N * (1 - won_N), nothing, nothing, nothing)


def davidson(gap_N: np.ndarray, score_N: np.ndarray, tie: float) -> Likelihood:
    """Win, loss and draw as exp(gap/2), exp(-gap/2) and exp(tie). Davidson 1970, JASA 65:317, eq. 2.6; tie is the log of his nu."""
    logits = np.stack([gap_N / 2, -gap_N / 2, np.full_like(gap_N, tie)])
    total_N = np.logaddexp.reduce(logits)
    won, lost, drawn = np.exp(logits - total_N)
    is_won, is_lost, is_drawn = score_N == 1, score_N == 0, score_N == 0.5
    ahead = (won - lost) / 2
    return Likelihood(
        is_won * logits[0] + is_lost * logits[1] + is_drawn * logits[2] - total_N,
        (is_won * 1.0 - is_lost) / 2 - ahead, (won + lost) / 4 - ahead**2,
        is_drawn - drawn, drawn * (1 - drawn), -ahead * drawn,
    )  # fmt: skip


def rao_kupper(gap_N: np.ndarray, score_N: np.ndarray, tie: float) -> Likelihood:
    """A win needs a gap above a threshold. Rao and Kupper 1967, JASA 62:194; tie is the log of their theta, above 0.

    Of the threshold: P(win) = sigmoid(gap - tie), P(loss) = sigmoid(-gap - tie), the rest is a draw.
    """
    above, below = (score_N > 0) * 1.0, (score_N < 1) * 1.0  # a draw is both: not below, and not above
    is_drawn = score_N == 0.5
    won, lost = sigmoid(gap_N - tie), sigmoid(-gap_N - tie)
    if tie <= 0:
        endless = np.full_like(gap_N, -np.inf)
        return Likelihood(endless, *(np.zeros_like(gap_N),) * 5)
    growth = 2 / -np.expm1(-2 * tie)  # of log(exp(2 tie) - 1)
    value = above * _log_sigmoid(gap_N - tie) + below * _log_sigmoid(-gap_N - tie) + is_drawn * (2 * tie + np.log(-np.expm1(-2 * tie)))
    by_won, by_lost = above * won * (1 - won), below * lost * (1 - lost)
    return Likelihood(
        value, above * (1 - won) - below * (1 - lost), by_won + by_lost,
        is_drawn * growth - above * (1 - won) - below * (1 - lost),
        by_won + by_lost + is_drawn * growth * (growth - 2), by_lost - by_won,
    )  # fmt: skip


LIKELIHOODS: dict[Ties, Callable[[np.ndarray, np.ndarray, float], Likelihood]] = {
    "half": half, "davidson": davidson, "rao_kupper": rao_kupper
}  # fmt: skip
START: dict[Ties, float] = {"half": 0.0, "davidson": 0.0, "rao_kupper": 0.5}


def expected_score(gap_N: np.ndarray, ties: Ties, tie: float) -> np.ndarray:
    """The probability that the first wins, and half of that of a draw; (N,)."""
    if ties == "half":
        return sigmoid(gap_N)
    won, lost = win_and_loss(gap_N, ties, tie)
    return won + (1 - won - lost) / 2


def win_and_loss(gap_N: np.ndarray, ties: Ties, tie: float) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities that the first wins and that it loses, (N,) each; the rest is a draw."""
    if ties == "davidson":
        total_N = np.logaddexp(np.logaddexp(gap_N / 2, -gap_N / 2), tie)
        return np.exp(gap_N / 2 - total_N), np.exp(-gap_N / 2 - total_N)
    threshold = tie if ties == "rao_kupper" else 0.0
    return sigmoid(gap_N - threshold), sigmoid(-gap_N - threshold)


def check_ties(ties: Ties, score_N: np.ndarray) -> None:
    """Raise DataError if the scores have not what this reading of draws needs."""
    if ties == "half":
        return
    if np.isin(score_N, (0.0, 0.5, 1.0), invert=True).any():
        raise DataError(f"ties {ties} needs wins, losses and draws, but some scores are probabilities; set ties=half")
    if not (score_N == 0.5).any():
        raise DataError(f"ties {ties} learns how likely draws are, and no match is one; set ties=half")
    if (score_N == 0.5).all():
        raise DataError(f"ties {ties} needs wins and losses too, and every match is a draw")


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow: of a difference of scores the probability that the first is better (Bradley and Terry 1952)."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def _log_sigmoid(x: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0, -x)
