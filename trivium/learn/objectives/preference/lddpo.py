"""LD-DPO: the tail by which one answer is longer than the other counts less."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Metrics
from trivium.learn.objectives.preference.pairs import logsigmoid, pairs_of
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


@component
class LDDPO:
    """DPO on log-probs whose tokens beyond the shorter answer's length weigh tail_weight (1: DPO; 0: the tail does not count).

    Liu et al. 2024, arXiv:2409.06411, eq. 11; tail_weight is its alpha.
    """

    kind: Literal["lddpo"] = "lddpo"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs",)
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=0.1, gt=0)  # see DPO
    tail_weight: float = Field(default=0.5, ge=0, le=1)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        weight_BL = self._weights(batch)
        log_ratio_BL = out.logprobs_BL - batch["ref_logprobs"]
        pairs = pairs_of(batch, out.logprobs_BL * weight_BL, log_ratio_BL * weight_BL)
        logit = self.beta * pairs.margin
        return -logsigmoid(logit), pairs.metrics(logit)

    def _weights(self, batch: Batch) -> torch.Tensor:
        better, worse = batch.pairs(batch.lengths())
        shorter_N = torch.minimum(better, worse).repeat_interleave(2)
        limit_BL = torch.cat([shorter_N, shorter_N.new_zeros(1)])[batch.sequence_BL]  # padding has the last index
        return torch.where(batch.place_BL() < limit_BL, 1.0, self.tail_weight)
