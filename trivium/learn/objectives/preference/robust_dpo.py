"""Robust DPO: an unbiased loss where a known share of the pairs has its labels swapped."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Metrics
from trivium.learn.objectives.preference.pairs import logsigmoid, read_pairs
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


@component
class RobustDPO:
    """[-(1 - e) log sigmoid(beta margin) + e log sigmoid(-beta margin)] / (1 - 2e), e the share of swapped labels.

    Chowdhury et al. 2024, arXiv:2403.00409, eq. 10: its mean over labels swapped with probability e is DPO's loss on right ones,
    which is not so of cDPO (DPO with label_noise).
    """

    kind: Literal["robust_dpo"] = "robust_dpo"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs",)
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=0.1, gt=0)  # see DPO
    label_noise: float = Field(default=0.1, ge=0, lt=0.5)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch)
        logit, noise = self.beta * pairs.margin, self.label_noise
        loss = (noise * logsigmoid(-logit) - (1 - noise) * logsigmoid(logit)) / (1 - 2 * noise)
        return loss, pairs.metrics(logit)
