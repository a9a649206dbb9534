"""DiscoPOP: a blend of the logistic and the exponential loss that a search by a language model found."""

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
class DiscoPOP:
    """(1 - m) (-log sigmoid(x)) + m e^-x, x = beta margin, m = sigmoid(x / temperature).

    Lu et al. 2024, arXiv:2406.08414, section 4 (log-ratio modulated loss). It falls to 0 far out, but is not convex: at temperature 0.05 a
    local minimum at x = -0.12 and a maximum at 0.07 lie around the start. A policy that is its own reference (x = 0) is first drawn to the
    wrong side, by little; only pairs that get beyond 0.07 are pushed apart.
    """

    kind: Literal["discopop"] = "discopop"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs",)
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=0.1, gt=0)  # see DPO
    temperature: float = Field(default=0.05, gt=0)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch)
        x = self.beta * pairs.margin
        share = (x / self.temperature).sigmoid()
        return share * (-x).exp() - (1 - share) * logsigmoid(x), pairs.metrics(x)
