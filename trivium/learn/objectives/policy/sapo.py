"""SAPO: a soft gate instead of a clip, so that the slope fades with the distance from the sampler and never jumps to 0."""

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
class SAPO:
    """-A (4 / t) sigmoid(t (rho - 1)), t = temperature where A > 0 and bad_temperature elsewhere; rho the ratio to the sampler.

    Gao et al. 2025, arXiv:2511.20347, eq. 5 and 6. At rho = 1 the slope is that of -A rho. kl_coef, kl: see PolicyGradient.
    """

    kind: Literal["sapo"] = "sapo"
    temperature: float = Field(default=1.0, gt=0)
    bad_temperature: float = Field(default=1.05, gt=0)  # higher: bad tokens, whose slope is noisier, are trusted less far
    kl_coef: float = Field(default=0.0, ge=0)
    kl: Penalty = "k2"
    reduction: Reduction = "sequence"

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns it reads."""
        return columns(self.kl_coef)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every token, (B, L)."""
        moved, advantage = log_ratio(out, batch), batch["advantages"]
        ratio = moved.exp()
        heat = torch.where(advantage > 0, self.temperature, self.bad_temperature)
        loss = -advantage * (4 / heat) * (heat * (ratio - 1)).sigmoid()
        loss = with_kl(loss, out, batch, kl_coef=self.kl_coef, kl=self.kl)
        return loss, report(out, batch, moved, low=0.0, high=float("inf"))
