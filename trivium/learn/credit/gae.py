"""GAE: credit of every token from its rewards and a critic (PPO)."""

from typing import Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component


@component
class GAE:
    """Generalised advantage estimation. Schulman et al. 2015, arXiv:1506.02438, eq. 16.

    delta_t = r_t + gamma v_{t+1} - v_t with v = 0 after the end; A_t = delta_t + gamma lam A_{t+1}; returns A_t + v_t.
    gamma 1: answers are short and not discounted. lam trades bias (0) for variance (1).
    """

    kind: Literal["gae"] = "gae"
    gamma: float = Field(default=1.0, ge=0, le=1)
    lam: float = Field(default=0.95, ge=0, le=1)

    def __call__(self, rewards_L: np.ndarray, values_L: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(advantages, returns) of one answer, each (L,), from per-token rewards and the values before each token."""
        advantages = np.zeros(len(rewards_L))
        following_value = following_advantage = 0.0
        for t in range(len(rewards_L) - 1, -1, -1):
            delta = rewards_L[t] + self.gamma * following_value - values_L[t]
            following_advantage = delta + self.gamma * self.lam * following_advantage
            following_value = values_L[t]
            advantages[t] = following_advantage
        return advantages, advantages + values_L


def whiten(x: np.ndarray, *, shift_mean: bool = True) -> np.ndarray:
    """Scale to variance 1 (population), and to mean 0 unless shift_mean is False."""
    mean = x.mean()
    white = (x - mean) / np.sqrt(x.var() + 1e-8)
    return white if shift_mean else white + mean
