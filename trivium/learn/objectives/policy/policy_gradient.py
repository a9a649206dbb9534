"""Clipped policy gradient: more of the tokens that did better than expected, a little at a time (PPO, GRPO, DAPO, GSPO)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Metrics
from trivium.learn.objectives.policy.anchor import Penalty, by_sequence, columns, log_ratio, report, with_kl
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


@component
class PolicyGradient:
    """max(-A rho, -A clip(rho, 1 - clip_low, 1 + clip_high)) per token, rho the ratio to the policy that sampled.

    Schulman et al. 2017, arXiv:1707.06347, eq. 7; clip_high above clip_low is DAPO's clip-higher (Yu et al. 2025, arXiv:2503.14476,
    eq. 10). ratio=sequence: rho is that of the whole answer, to the power of 1 / length (GSPO: Zheng et al. 2025, arXiv:2507.18071, eq. 5;
    its clips are about 3e-4). max_ratio bounds rho where A < 0, where the clip does not (INTELLECT-2, arXiv:2505.07291, section 3.4).
    The anchor is the sampler's own stored log-probs. kl_coef adds a KL penalty to the loss by one of three estimators, whose expected
    slope is, token by token with the tokens before it held fixed, that of KL(policy || reference): k2 on-policy; ratio_k3, k3 weighted
    by the token's ratio, off-policy too (DeepSeek-V3.2, 2025); or that of KL(reference || policy): k3, as GRPO was published (Shao et al.
    2024, arXiv:2402.03300, eq. 4). What a token does to the KL of later ones is left out: the slope of the KL between whole answers comes
    from the reward alone (learn/kl.py).
    """

    kind: Literal["policy_gradient"] = "policy_gradient"
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    clip_high: float = Field(default=0.2, gt=0)
    ratio: Literal["token", "sequence"] = "token"
    max_ratio: float | None = Field(default=None, gt=1)
    kl_coef: float = Field(default=0.0, ge=0)
    kl: Penalty = "k2"
    entropy_coef: float = Field(default=0.0, ge=0)
    reduction: Reduction = "token"

    def __post_init__(self) -> None:
        if self.max_ratio is not None and self.max_ratio <= 1 + self.clip_high:
            raise ValueError(f"max_ratio is {self.max_ratio}; it bounds what the clip leaves, so it must be above 1 + clip_high")

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns it reads."""
        return columns(self.kl_coef)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every token, (B, L)."""
        moved, advantage = log_ratio(out, batch), batch["advantages"]
        if self.ratio == "sequence":
            moved = by_sequence(moved, batch)
        ratio = moved.exp()
        bounded = ratio if self.max_ratio is None else ratio.clamp(max=self.max_ratio)
        clipped = ratio.clamp(1 - self.clip_low, 1 + self.clip_high)
        loss = torch.maximum(-advantage * bounded, -advantage * clipped)
        loss = with_kl(loss, out, batch, kl_coef=self.kl_coef, kl=self.kl)
        if self.entropy_coef:
            loss = loss - self.entropy_coef * out.entropy_BL
        return loss, report(out, batch, moved, low=1 - self.clip_low, high=1 + self.clip_high)
