"""ODPO: pairs whose answers differ more in score are to be further apart."""

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
class ODPO:
    """-log sigmoid(beta margin - offset), offset = scale x log(score of the better - score of the worse), not below 0.

    Amini et al. 2024, arXiv:2402.10571, eq. 8 and section 4; scale is its alpha. The paper's log is below 0 where scores differ by less
    than 1, which would ask for the worse answer: here the offset is log(1 + gap), which keeps its growth and its sign.
    """

    kind: Literal["odpo"] = "odpo"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs", "score")
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=0.1, gt=0)  # see DPO
    scale: float = Field(default=1.0, ge=0)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch)
        better, worse = batch.pairs(batch.mean(batch["score"]))
        logit = self.beta * pairs.margin
        return -logsigmoid(logit - self.scale * (better - worse).clamp(min=0).log1p()), pairs.metrics(logit)
