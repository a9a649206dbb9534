"""CPL: preferences between behaviours, as a contrastive loss in which the worse one may weigh less."""

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
class CPL:
    """-log [e^(alpha p_better) / (e^(alpha p_better) + e^(bias alpha p_worse))], p the log-probs summed over tokens.

    Hejna et al. 2023, arXiv:2310.13639, eq. 5, without discount; bias is its lambda, which keeps what the data does not show unlikely.
    No reference is needed.
    """

    kind: Literal["cpl"] = "cpl"
    needs: ClassVar[tuple[str, ...]] = ()
    reduction: ClassVar[Reduction] = "group"
    alpha: float = Field(default=0.1, gt=0)
    bias: float = Field(default=0.5, gt=0, le=1)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch, has_reference=False)
        logit = self.alpha * (pairs.chosen - self.bias * pairs.rejected)
        return -logsigmoid(logit), pairs.metrics(logit)
