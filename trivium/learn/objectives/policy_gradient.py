"""Clipped policy gradient: more of the tokens that did better than expected, a little at a time (PPO, GRPO)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Metrics
from trivium.learn.kl import kl_estimate
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


@component
class PolicyGradient:
    """max(-A rho, -A clip(rho, 1 - clip_low, 1 + clip_high)) per token, rho the ratio to the policy that sampled.

    Schulman et al. 2017, arXiv:1707.06347, eq. 7; clip_high above clip_low is DAPO's clip-higher (Yu et al. 2025, arXiv:2503.14476,
    eq. 10). The anchor is the sampler's own stored log-probs. kl_coef adds a KL penalty to the loss by one of three estimators:
    k2 has the KL's gradient on-policy; ratio_k3, k3 weighted by the ratio, has it off-policy too (DeepSeek-V3.2, 2025);
    k3 is GRPO as published (Shao et al. 2024, arXiv:2402.03300, eq. 4), whose gradient is that of KL(reference || policy).
    """

    kind: Literal["policy_gradient"] = "policy_gradient"
    reads_entropy: ClassVar[bool] = True
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    clip_high: float = Field(default=0.2, gt=0)
    kl_coef: float = Field(default=0.0, ge=0)
    kl: Literal["k2", "k3", "ratio_k3"] = "k2"
    entropy_coef: float = Field(default=0.0, ge=0)
    reduction: Reduction = "token"

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns it reads."""
        return ("old_logprobs", "advantages", *(["ref_logprobs"] if self.kl_coef else []))

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every token, (B, L)."""
        log_ratio = out.logprobs_BL - batch["old_logprobs"]
        ratio, advantage = log_ratio.exp(), batch["advantages"]
        clipped = ratio.clamp(1 - self.clip_low, 1 + self.clip_high)
        loss = torch.maximum(-advantage * ratio, -advantage * clipped)
        if self.kl_coef:
            loss = loss + self.kl_coef * self._kl(out.logprobs_BL - batch["ref_logprobs"], ratio)
        if self.entropy_coef:
            loss = loss - self.entropy_coef * out.entropy_BL
        return loss, self._metrics(out, batch, log_ratio.detach())

    def _kl(self, log_ratio: torch.Tensor, ratio: torch.Tensor) -> torch.Tensor:
        if self.kl == "k2":
            return kl_estimate(log_ratio, "k2")
        return kl_estimate(log_ratio, "k3") * (ratio if self.kl == "ratio_k3" else 1)

    def _metrics(self, out: Outputs, batch: Batch, log_ratio: torch.Tensor) -> Metrics:
        counted = (batch.loss_mask_BL > 0).float()
        tokens, ratio = counted.sum(), log_ratio.exp()
        outside = ((ratio < 1 - self.clip_low) | (ratio > 1 + self.clip_high)).float()
        return {
            "clip_fraction": ((outside * counted).sum(), tokens),
            "approx_kl": ((kl_estimate(log_ratio, "k3") * counted).sum(), tokens),
            "entropy": ((out.entropy_BL.detach() * counted).sum(), tokens),
        }
