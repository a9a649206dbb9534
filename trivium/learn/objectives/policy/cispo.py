"""CISPO: every token keeps its slope; only how much it weighs is bounded."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Metrics
from trivium.learn.objectives.policy.anchor import Penalty, columns, log_ratio, report, with_kl
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


@component
class CISPO:
    """-A log policy x min(rho, max_ratio), the last as a constant; rho is the ratio to the policy that sampled.

    MiniMax-M1 2025, arXiv:2506.13585, eq. 4 and 5, without a lower bound, as there. kl_coef, kl: see PolicyGradient. With one update a
    phase rho is 1, and this is REINFORCE.
    """

    kind: Literal["cispo"] = "cispo"
    max_ratio: float = Field(default=5.0, ge=1)
    kl_coef: float = Field(default=0.0, ge=0)
    kl: Penalty = "k2"
    reduction: Reduction = "token"

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns it reads."""
        return columns(self.kl_coef)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every token, (B, L)."""
        moved = log_ratio(out, batch)
        ratio = moved.exp()
        loss = -batch["advantages"] * ratio.detach().clamp(max=self.max_ratio) * out.logprobs_BL
        loss = with_kl(loss, out, batch, kl_coef=self.kl_coef, kl=self.kl)
        return loss, report(out, batch, moved, low=0.0, high=self.max_ratio)
