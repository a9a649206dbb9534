"""A classifier of prompts: a small network on their features that says win, draw or loss for every pair of models."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.core.seeds import generator
from trivium.score.ranking.ties import davidson, half
from trivium.score.routing.features import with_one
from trivium.score.routing.routers.lesson import Arrays, Lesson, descend

WEIGHT_DECAY = 1e-3


@component
class Classifier:
    """One hidden layer on the prompt's features, a strength a model, and a class for draws (Davidson).

    Ong et al. 2024, arXiv:2406.18665, section 4.2, fine-tune BERT to the three classes win, draw and loss; here the encoder is frozen,
    the model whose hidden states the features are, and the classes of all pairs share the models' strengths.
    """

    kind: Literal["classifier"] = "classifier"
    hidden: int = Field(default=32, gt=0)
    epochs: int = Field(default=30, gt=0)
    lr: float = Field(default=2e-3, gt=0)

    def learn(self, lesson: Lesson) -> Arrays:
        """inner (1 + D, H), outer (1 + H, M), tie (1,)."""
        table, z_PE = lesson.table, with_one(lesson.z_PD)
        draw = generator(lesson.seed, "classifier of prompts")
        start = {
            "inner": draw.standard_normal((z_PE.shape[1], self.hidden)) / np.sqrt(z_PE.shape[1]),
            "outer": np.zeros((1 + self.hidden, table.num_models)),
            "tie": np.zeros(1),
        }
        likelihood = half if table.is_soft else davidson

        def gradient(weights: Arrays, part: np.ndarray, noise: np.random.Generator) -> Arrays:
            z_NE, first_N, second_N = z_PE[table.prompt_N[part]], table.first_N[part], table.second_N[part]
            inner_NH = np.tanh(z_NE @ weights["inner"])
            hidden_NG = with_one(inner_NH)
            apart_NG = (weights["outer"][:, first_N] - weights["outer"][:, second_N]).T
            likely = likelihood((hidden_NG * apart_NG).sum(1), table.score_N[part], float(weights["tie"][0]))
            slope_N = -likely.slope
            outer = np.zeros_like(weights["outer"].T)
            np.add.at(outer, first_N, slope_N[:, None] * hidden_NG)
            np.subtract.at(outer, second_N, slope_N[:, None] * hidden_NG)
            into_NH = slope_N[:, None] * apart_NG[:, 1:] * (1 - inner_NH**2)
            return {"inner": z_NE.T @ into_NH, "outer": outer.T, "tie": np.array([-likely.tie_slope.sum()])}

        return descend(
            start, gradient, lesson, lambda weights: self.strengths(weights, lesson.z_PD),
            epochs=self.epochs, lr=self.lr, weight_decay=WEIGHT_DECAY, purpose="classifier of prompts",
        )  # fmt: skip

    def strengths(self, learned: Mapping[str, np.ndarray], z_QD: np.ndarray) -> np.ndarray:
        """(Q, M)."""
        return with_one(np.tanh(with_one(z_QD) @ learned["inner"])) @ learned["outer"]
