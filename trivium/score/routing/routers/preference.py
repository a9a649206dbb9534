"""Predictive human preference: Bradley-Terry whose strengths are linear in the prompt, so the odds are bilinear in prompt and pair."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from trivium.core.config import component
from trivium.score.ranking.strengths import Penalty, Strengths, data_of, fit
from trivium.score.ranking.uncertainty import penalty_of
from trivium.score.routing.features import with_one
from trivium.score.routing.routers.lesson import Arrays, Lesson

RIDGES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)


@component
class Preference:
    """P(a beats b on x) = sigmoid((W_a - W_b) (1, z(x))), with a ridge on all but the first column.

    Huyen 2024 ("Predictive human preference"), with frozen features and no hidden layer, so that it is antisymmetric, says 1/2 of a model
    against itself, and has one optimum. The ridge is the one of RIDGES with the lowest log-loss on training prompts set aside; if a
    strong one is best, the prompt says little about who wins.
    """

    kind: Literal["preference"] = "preference"

    def learn(self, lesson: Lesson) -> Arrays:
        """Weights (M, 1 + D), and the ridge that was chosen."""
        z_PE = with_one(lesson.z_PD)
        found: Strengths | None = None
        losses = []
        for ridge in RIDGES:
            found = _fit(lesson, z_PE, lesson.fit_N, ridge, found)
            losses.append(lesson.log_loss(found.of(z_PE), ~lesson.fit_N))
        ridge = RIDGES[int(np.argmin(losses))]
        weights = _fit(lesson, z_PE, np.ones(len(lesson.table), bool), ridge, found).weights_MD
        return {"weights": weights, "ridge": np.array([ridge])}

    def strengths(self, learned: Mapping[str, np.ndarray], z_QD: np.ndarray) -> np.ndarray:
        """(Q, M)."""
        return with_one(z_QD) @ learned["weights"].T


def _fit(lesson: Lesson, z_PE: np.ndarray, chosen_N: np.ndarray, ridge: float, start: Strengths | None) -> Strengths:
    table = lesson.table.where(chosen_N)
    data = data_of(table.first_N, table.second_N, table.score_N, table.num_models, z_ND=z_PE[table.prompt_N])
    ridge_E = np.full(z_PE.shape[1], ridge)
    ridge_E[0] = penalty_of(data, 0.0).ridge_D[0]
    return fit(data, penalty=Penalty(ridge_E), start=start)
