"""SLiC-HF: the better answer is to be more likely by a margin, and to stay likely; no reference is needed."""

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
class SLiC:
    """max(0, margin - log p(better) + log p(worse)) + nll_coef x negative log-prob a token of the better answer.

    Zhao et al. 2023, arXiv:2305.10425, eq. 2 (SLiC-HF-direct). The paper regularises towards the texts of its SFT data; here these are
    the better answers. Its form with a reference is GPO with convex=hinge.
    """

    kind: Literal["slic"] = "slic"
    needs: ClassVar[tuple[str, ...]] = ()
    reduction: ClassVar[Reduction] = "group"
    margin: float = Field(default=1.0, gt=0)  # nats
    nll_coef: float = Field(default=0.1, ge=0)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch, has_reference=False)
        return (self.margin - pairs.margin).relu() - self.nll_coef * pairs.chosen_mean, pairs.metrics(pairs.margin)
