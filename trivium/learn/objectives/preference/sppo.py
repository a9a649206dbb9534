"""SPPO: each answer has its own target, half of 1 / beta up or down."""

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
class SPPO:
    """(log-ratio of the better - 1 / (2 beta))^2 + (log-ratio of the worse + 1 / (2 beta))^2.

    Wu et al. 2024, arXiv:2405.00675, eq. 4.7 with hard labels: the better answer wins with probability 1; eta there is 1 / beta.
    """

    kind: Literal["sppo"] = "sppo"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs",)
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=1e-3, gt=0)  # small: far targets

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch)
        target = 1 / (2 * self.beta)
        return (pairs.chosen_log_ratio - target) ** 2 + (pairs.rejected_log_ratio + target) ** 2, pairs.metrics(pairs.margin)
