"""Estimators of KL(policy || reference) from the tokens the policy sampled, and the controller that holds it at a target.

log_ratio is log policy - log reference of a token. Schulman 2020, "Approximating KL divergence": k1 and k3 are unbiased, k3 is never
negative. The KL between whole answers is the expected sum over tokens of D_t, the KL between the distributions of token t given the tokens
before it, and its slope has two parts: how D_t changes, and how the policy comes to prefixes where D_t is small.
k1 in the reward, summed over the answer or over what is to come, has both, exactly, through the policy gradient. A penalty in the loss has
the first part alone, with prefixes held fixed: k2 on-policy, k3 times the ratio to the sampler off-policy too (at the sampler's prefixes),
and k3 alone, on-policy, that of KL(reference || policy) instead; k1 has none. So a KL in the loss does not keep the policy from prefixes
after which it is far from the reference. One-token answers have no second part.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from trivium.core.config import component

Estimator = Literal["k1", "k2", "k3"]


def kl_estimate(log_ratio: torch.Tensor, how: Estimator) -> torch.Tensor:
    """The per-token estimate, in nats, of the same shape."""
    if how == "k1":
        return log_ratio
    if how == "k2":
        return 0.5 * log_ratio**2
    return torch.expm1(-log_ratio) + log_ratio


@component
class AdaptiveKL:
    """Proportional controller of the KL coefficient. Ziegler et al. 2019, arXiv:1909.08593, section 2.2."""

    target: float = Field(default=6.0, gt=0)  # nats an episode
    horizon: float = Field(default=10_000, gt=0)  # episodes

    def __call__(self, kl_coef: float, kl: float, episodes: int) -> float:
        """The coefficient after `episodes` episodes whose mean KL (summed over tokens) was `kl`."""
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        return kl_coef * (1 + error * episodes / self.horizon)
