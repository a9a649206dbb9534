"""What a router learns from, and how those that are no regression learn: Adam, with the best weights on prompts set aside."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from trivium.core.seeds import generator
from trivium.score.ranking.strengths import Penalty, data_of, fit
from trivium.score.ranking.table import MatchTable
from trivium.score.ranking.ties import half

Arrays = dict[str, np.ndarray]
Gradient = Callable[[Arrays, np.ndarray, np.random.Generator], Arrays]  # of the sum over some matches, by their numbers
BATCH = 64
CHECK_SHARE = 0.2  # of the training prompts: what settings are chosen by


@dataclass(frozen=True, slots=True)
class Lesson:
    """Training matches, the coordinates of all their prompts (PromptSpace), and the prompts that settings are chosen by."""

    table: MatchTable
    z_PD: np.ndarray
    is_check_P: np.ndarray
    seed: int

    @property
    def fit_N(self) -> np.ndarray:
        """The matches that weights are fitted to while settings are chosen, (N,) bool."""
        return ~self.is_check_P[self.table.prompt_N]

    def log_loss(self, strength_PM: np.ndarray, chosen_N: np.ndarray) -> float:
        """The mean log-loss of strengths on some of the matches, in nats; draws count half."""
        return float(-half(gaps(self.table, strength_PM)[chosen_N], self.table.score_N[chosen_N]).value.mean())


def gaps(table: MatchTable, strength_PM: np.ndarray) -> np.ndarray:
    """How much stronger the first of each match is on its prompt, (N,)."""
    return strength_PM[table.prompt_N, table.first_N] - strength_PM[table.prompt_N, table.second_N]


def gain_of_scores(table: MatchTable, score_PM: np.ndarray) -> float:
    """What scores are to be multiplied by to be log-odds: the coefficient of the gap in a logistic regression on these matches."""
    data = data_of(table.first_N, table.second_N, table.score_N, table.num_models, x_NF=gaps(table, score_PM)[:, None])
    fixed = Penalty(np.array([1e9]), covariate_ridge=1e-3)  # the gap alone: no strength of a model besides
    return float(fit(data, penalty=fixed).covariates_F[0])


def descend(
    start: Arrays, gradient: Gradient, lesson: Lesson, strengths: Callable[[Mapping[str, np.ndarray]], np.ndarray], *,
    epochs: int, lr: float, weight_decay: float, purpose: str,
) -> Arrays:  # fmt: skip
    """The weights after the epoch that was best on the prompts set aside, the start included.

    Adam (Kingma and Ba 2015, arXiv:1412.6980) with weight decay apart from it (Loshchilov and Hutter 2019, arXiv:1711.05101).
    """
    weights = {name: value.copy() for name, value in start.items()}
    first, second = ({name: np.zeros_like(value) for name, value in start.items()} for _ in range(2))
    places, checked = np.flatnonzero(lesson.fit_N), ~lesson.fit_N
    best, best_loss, step = weights, lesson.log_loss(strengths(weights), checked), 0
    for epoch in range(epochs):
        draw = generator(lesson.seed, purpose, epoch)
        order = draw.permutation(places)
        for begin in range(0, len(order), BATCH):
            part, step = order[begin : begin + BATCH], step + 1
            slopes = gradient(weights, part, draw)
            for name, slope in slopes.items():
                slope = slope / len(part)
                first[name] = 0.9 * first[name] + 0.1 * slope
                second[name] = 0.999 * second[name] + 0.001 * slope**2
                moved = (first[name] / (1 - 0.9**step)) / (np.sqrt(second[name] / (1 - 0.999**step)) + 1e-8)
                weights[name] = weights[name] - lr * (moved + weight_decay * weights[name])
        loss = lesson.log_loss(strengths(weights), checked)
        if loss < best_loss:
            best, best_loss = dict(weights), loss
    return best
