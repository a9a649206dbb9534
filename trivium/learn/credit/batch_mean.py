"""Batch mean: rewards to go, compared over all tokens of the phase instead of by a critic (REINFORCE++)."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.learn.credit.answers import Answers, Credit
from trivium.learn.credit.gae import whiten


@component
class BatchMean:
    """The reward to go of each token, with the KL penalty where it arises, whitened over all tokens of the phase.

    Hu 2025, arXiv:2501.03262, eq. 6 to 8. is_grouped takes the mean of the answers to the same prompt off the score first
    (REINFORCE++-baseline there, which puts the KL into the loss: objective.kl_coef).
    """

    kind: Literal["batch_mean"] = "batch_mean"
    needs_critic: ClassVar[bool] = False
    needs_greedy: ClassVar[bool] = False
    is_grouped: bool = False
    gamma: float = Field(default=1.0, ge=0, le=1)

    @property
    def min_answers(self) -> int:
        """How many answers a prompt needs: alone, one is its own mean."""
        return 2 if self.is_grouped else 1

    def __call__(self, answers: Answers) -> Credit:
        """Advantages of the tokens of each answer."""
        scores = answers.groups(answers.scores)
        if self.is_grouped:
            scores = scores - scores.mean(1, keepdims=True)
        parts = [self._to_go(score, penalty) for score, penalty in zip(scores.ravel(), answers.penalties, strict=True)]
        white = whiten(np.concatenate(parts))
        return Credit(np.split(white, np.cumsum([len(part) for part in parts])[:-1]))

    def _to_go(self, score: float, penalty: np.ndarray) -> np.ndarray:
        rewards = -penalty.astype(np.float64)
        rewards[-1] += score
        return to_go(rewards, self.gamma)


def to_go(rewards_T: np.ndarray, gamma: float) -> np.ndarray:
    """The reward of each token and of those after it, each of these times gamma to the power of the distance; (T,)."""
    sums, left = np.zeros(len(rewards_T)), 0.0
    for t in range(len(rewards_T) - 1, -1, -1):
        left = sums[t] = rewards_T[t] + gamma * left
    return sums
