"""REINFORCE: the slope of the log-prob times the advantage, without a ratio; for one update a phase."""

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
class REINFORCE:
    """-A log policy per token, summed over an answer. Williams 1992, section 4.

    The policy must be the one that sampled: more than one update a phase is off-policy, and not corrected. kl_coef, kl: see PolicyGradient.
    """

    kind: Literal["reinforce"] = "reinforce"
    kl_coef: float = Field(default=0.0, ge=0)
    kl: Penalty = "k2"
    reduction: Reduction = "sequence_sum"

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns it reads."""
        return columns(self.kl_coef)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every token, (B, L)."""
        moved = log_ratio(out, batch)
        loss = -batch["advantages"] * out.logprobs_BL
        loss = with_kl(loss, out, batch, kl_coef=self.kl_coef, kl=self.kl)
        return loss, report(out, batch, moved, low=0.0, high=float("inf"))
