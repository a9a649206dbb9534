"""Elo: ratings that move after every match, so they depend on the order; over many orders they have a mean and a spread.

Elo 1978, "The Rating of Chessplayers"; for chats Chiang et al. 2024, arXiv:2403.04132: K = 4, all begin at 1000, a draw is half a win.
"""

import numpy as np

from trivium.core.seeds import generator
from trivium.score.ranking.table import MatchTable

K, START, SCALE = 4.0, 1000.0, 400.0
ORDERS = 100
_AT_ONCE = 1 << 25  # places of matches in orders that are held at a time


def online_elo(table: MatchTable) -> np.ndarray:
    """The ratings after all matches in their order, (M,). O(N)."""
    return _play(table, np.arange(len(table))[None])[0]


def elo_over_orders(table: MatchTable, *, seed: int, orders: int = ORDERS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean of the ratings over random orders of the matches, and the 2.5 and 97.5 % percentiles; (M,) each."""
    draw = generator(seed, "orders of matches")
    each = max(1, min(orders, _AT_ONCE // len(table)))
    sizes = [min(each, orders - start) for start in range(0, orders, each)]
    found_RM = np.concatenate([_play(table, np.stack([draw.permutation(len(table)) for _ in range(size)])) for size in sizes])
    low_M, high_M = np.quantile(found_RM, [0.025, 0.975], axis=0)
    return found_RM.mean(0), low_M, high_M


def elo_expected(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The score that these ratings expect of the first."""
    return 1 / (1 + 10 ** ((second - first) / SCALE))


def _play(table: MatchTable, order_RN: np.ndarray) -> np.ndarray:
    """All orders side by side, a match of each at a time."""
    row_R = np.arange(len(order_RN))
    rating_RM = np.full((len(order_RN), table.num_models), START)
    for match_R in order_RN.T:
        first_R, second_R = table.first_N[match_R], table.second_N[match_R]
        change_R = K * (table.score_N[match_R] - elo_expected(rating_RM[row_R, first_R], rating_RM[row_R, second_R]))
        rating_RM[row_R, first_R] += change_R
        rating_RM[row_R, second_R] -= change_R
    return rating_RM
