"""GAE: credit of every token from its rewards and a critic (PPO)."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.learn.credit.answers import Answers, Credit


@component
class GAE:
    """Generalised advantage estimation. Schulman et al. 2015, arXiv:1506.02438, eq. 16.

    delta_t = r_t + gamma v_{t+1} - v_t with v = 0 after the end; A_t = delta_t + gamma lam A_{t+1}; returns A_t + v_t.
    gamma 1: answers are short and not discounted. lam trades bias (0) for variance (1).
    """

    kind: Literal["gae"] = "gae"
    min_answers: ClassVar[int] = 1
    needs_critic: ClassVar[bool] = True
    needs_greedy: ClassVar[bool] = False
    gamma: float = Field(default=1.0, ge=0, le=1)
    lam: float = Field(default=0.95, ge=0, le=1)

    def __call__(self, answers: Answers) -> Credit:
        """Advantages, whitened over all tokens of the phase, and returns. Rewards are -penalty, plus the score at the last token."""
        if answers.values is None:
            raise RuntimeError("GAE needs a critic")
        pairs = []
        for score, penalty, values in zip(answers.scores, answers.penalties, answers.values, strict=True):
            rewards = -penalty.astype(np.float64)
            rewards[-1] += score
            pairs.append(self.of_rewards(rewards, values.astype(np.float64)))
        white = whiten(np.concatenate([advantages for advantages, _ in pairs]))
        return Credit(np.split(white, np.cumsum([len(advantages) for advantages, _ in pairs])[:-1]), [returns for _, returns in pairs])

    def of_rewards(self, rewards_T: np.ndarray, values_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(advantages, returns) of one answer, each (T,), from per-token rewards and the values before each token."""
        advantages = np.zeros(len(rewards_T))
        following_value = following_advantage = 0.0
        for t in range(len(rewards_T) - 1, -1, -1):
            delta = rewards_T[t] + self.gamma * following_value - values_T[t]
            following_advantage = delta + self.gamma * self.lam * following_advantage
            following_value = values_T[t]
            advantages[t] = following_advantage
        return advantages, advantages + values_T


def whiten(x: np.ndarray) -> np.ndarray:
    """Scale to mean 0 and variance 1 (population)."""
    return (x - x.mean()) / np.sqrt(x.var() + 1e-8)
