"""Matrix factorisation: a model and a prompt are vectors, and how well they go together is a bilinear score of few dimensions."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.core.seeds import generator
from trivium.score.ranking.ties import sigmoid
from trivium.score.routing.features import with_one
from trivium.score.routing.routers.lesson import Arrays, Lesson, descend

NOISE, WEIGHT_DECAY = 0.1, 1e-5  # Ong et al. 2024, their code


@component
class Matrix:
    """score(m, x) = w (v_m / |v_m| * W x), the difference of two scores through a sigmoid; draws are left out.

    Ong et al. 2024, arXiv:2406.18665, section 4.2 and their code: Adam, noise on the features. Differences: the features are our own
    with a 1 before them, and the best of the epochs on prompts set aside is kept.
    """

    kind: Literal["matrix"] = "matrix"
    rank: int = Field(default=16, gt=0)
    epochs: int = Field(default=30, gt=0)
    lr: float = Field(default=1e-3, gt=0)

    def learn(self, lesson: Lesson) -> Arrays:
        """models (M, K), project (1 + D, K), weight (K,)."""
        table, z_PE = lesson.table, with_one(lesson.z_PD)
        draw = generator(lesson.seed, "matrix factorisation")
        start = {
            "models": draw.standard_normal((table.num_models, self.rank)),
            "project": draw.standard_normal((z_PE.shape[1], self.rank)) / np.sqrt(z_PE.shape[1]),
            "weight": draw.standard_normal(self.rank) / np.sqrt(self.rank),
        }

        def gradient(weights: Arrays, part: np.ndarray, noise: np.random.Generator) -> Arrays:
            part = part[table.score_N[part] != 0.5]
            z_NE = z_PE[table.prompt_N[part]]
            z_NE = z_NE + NOISE * noise.standard_normal(z_NE.shape)
            return self._gradient(weights, z_NE, table.first_N[part], table.second_N[part], table.score_N[part])

        return descend(
            start, gradient, lesson, lambda weights: self.strengths(weights, lesson.z_PD),
            epochs=self.epochs, lr=self.lr, weight_decay=WEIGHT_DECAY, purpose="matrix factorisation",
        )  # fmt: skip

    def strengths(self, learned: Mapping[str, np.ndarray], z_QD: np.ndarray) -> np.ndarray:
        """(Q, M)."""
        return (with_one(z_QD) @ learned["project"] * learned["weight"]) @ _unit(learned["models"])[0].T

    def _gradient(self, weights: Arrays, z_NE: np.ndarray, first_N: np.ndarray, second_N: np.ndarray, score_N: np.ndarray) -> Arrays:
        unit_MK, length_M = _unit(weights["models"])
        prompt_NK, apart_NK = z_NE @ weights["project"], unit_MK[first_N] - unit_MK[second_N]
        slope_N = sigmoid((prompt_NK * apart_NK) @ weights["weight"]) - score_N
        pulled_NK = slope_N[:, None] * weights["weight"]
        unit_slope = np.zeros_like(unit_MK)
        np.add.at(unit_slope, first_N, pulled_NK * prompt_NK)
        np.subtract.at(unit_slope, second_N, pulled_NK * prompt_NK)
        along_M1 = (unit_slope * unit_MK).sum(1, keepdims=True)
        return {
            "models": (unit_slope - along_M1 * unit_MK) / length_M[:, None],
            "project": z_NE.T @ (pulled_NK * apart_NK),
            "weight": slope_N @ (prompt_NK * apart_NK),
        }


def _unit(models_MK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    length_M = np.maximum(np.linalg.norm(models_MK, axis=1), 1e-12)
    return models_MK / length_M[:, None], length_M
