"""R-DPO: DPO that does not reward the longer answer for being longer."""

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
class RDPO:
    """-log sigmoid(beta margin + length_coef (length of the better - length of the worse)), lengths in tokens.

    Park et al. 2024, arXiv:2403.19159, eq. 9; length_coef is its alpha. Where the better answer is longer the logit is already high, and
    the policy is moved less.
    """

    kind: Literal["rdpo"] = "rdpo"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs",)
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=0.1, gt=0)  # see DPO
    length_coef: float = Field(default=0.05, ge=0)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch)
        logit = self.beta * pairs.margin
        return -logsigmoid(logit + self.length_coef * (pairs.chosen_length - pairs.rejected_length)), pairs.metrics(logit)
