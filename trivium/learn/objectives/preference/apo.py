"""APO: says whether the better answer is to become more likely, by where it stands to what the model can do."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Metrics
from trivium.learn.objectives.preference.pairs import read_pairs
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


@component
class APO:
    """zero: 1 - sigmoid(beta r_better) + sigmoid(beta r_worse); down: sigmoid(beta r_better) + 1 - sigmoid(beta margin).

    D'Oosterlinck et al. 2024, arXiv:2408.06266, section 4. zero, where the better answers are better than the model's own: up with them,
    down with the others. down, where they are worse: both go down, the worse one faster.
    """

    kind: Literal["apo"] = "apo"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs",)
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=0.1, gt=0)  # see DPO
    anchor: Literal["zero", "down"] = "zero"

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch)
        better, worse = self.beta * pairs.chosen_log_ratio, self.beta * pairs.rejected_log_ratio
        loss = (-better).sigmoid() + worse.sigmoid() if self.anchor == "zero" else better.sigmoid() + (worse - better).sigmoid()
        return loss, pairs.metrics(better - worse)
