"""Similarity-weighted ranking: Bradley-Terry on all training matches, in which those on prompts like this one count more."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.score.ranking.strengths import data_of, fit
from trivium.score.routing.routers.lesson import Arrays, Lesson


@component
class Similarity:
    """Ong et al. 2024, arXiv:2406.18665, section 4.2: a match weighs base^(1 + similarity / the largest similarity); nothing is trained.

    similarity: the cosine of the prompts' coordinates. Difference: a draw of weight 1 between any two models that met, so that a model that
    lost every match near a prompt has a strength there.
    """

    kind: Literal["similarity"] = "similarity"
    base: float = Field(default=10.0, gt=1)

    def learn(self, lesson: Lesson) -> Arrays:
        """The training prompts as unit vectors, and the matches."""
        table = lesson.table
        return {
            "prompts": _unit(lesson.z_PD),
            "pairs": np.stack([table.first_N, table.second_N, table.prompt_N]),
            "scores": table.score_N,
            "num_models": np.array([table.num_models]),
        }

    def strengths(self, learned: Mapping[str, np.ndarray], z_QD: np.ndarray) -> np.ndarray:
        """(Q, M); O(N) and a small fit for each prompt."""
        num_models = int(learned["num_models"][0])
        first_N, second_N, prompt_N = learned["pairs"]
        codes, pair_N = np.unique(first_N * num_models + second_N, return_inverse=True)
        first_C, second_C = codes // num_models, codes % num_models
        both = (np.concatenate([first_C, first_C]), np.concatenate([second_C, second_C]))
        ends = np.concatenate([np.ones(len(codes)), np.zeros(len(codes))])
        found, strengths = np.empty((len(z_QD), num_models)), None
        for number, query_D in enumerate(_unit(z_QD)):
            near_P = learned["prompts"] @ query_D
            weight_N = self.base ** (1 + near_P / max(float(near_P.max()), 1e-6))[prompt_N]
            won_C = np.bincount(pair_N, weight_N * learned["scores"], len(codes)) + 0.5
            lost_C = np.bincount(pair_N, weight_N * (1 - learned["scores"]), len(codes)) + 0.5
            strengths = fit(data_of(*both, ends, num_models, weight_N=np.concatenate([won_C, lost_C])), start=strengths)
            found[number] = strengths.weights_MD[:, 0]
        return found


def _unit(x_PD: np.ndarray) -> np.ndarray:
    return x_PD / np.maximum(np.linalg.norm(x_PD, axis=1, keepdims=True), 1e-12)
