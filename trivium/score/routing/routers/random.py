"""The router that does not look at the prompt: what the models are worth on average, so which prompt goes where is thrown by lot."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from trivium.core.config import component
from trivium.score.ranking.strengths import data_of, fit
from trivium.score.ranking.uncertainty import penalty_of
from trivium.score.routing.routers.lesson import Arrays, Lesson


@component
class Random:
    """Plain Bradley-Terry: as a prediction of who wins the baseline of all others, as a router the straight line."""

    kind: Literal["random"] = "random"

    def learn(self, lesson: Lesson) -> Arrays:
        """One strength a model, (M,)."""
        table = lesson.table
        data = data_of(table.first_N, table.second_N, table.score_N, table.num_models)
        return {"strengths": fit(data, penalty=penalty_of(data, 0.0)).weights_MD[:, 0]}

    def strengths(self, learned: Mapping[str, np.ndarray], z_QD: np.ndarray) -> np.ndarray:
        """The same on every prompt, (Q, M)."""
        return np.tile(learned["strengths"], (len(z_QD), 1))
