"""CPO: DPO as if the reference were uniform, held by imitating the better answer."""

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
class CPO:
    """-log sigmoid(beta (log p(better) - log p(worse))) + nll_coef x negative log-prob a token of the better answer.

    Xu et al. 2024, arXiv:2401.08417, eq. 5. No reference is needed. The mean over tokens is taken within each answer (TRL: over all better
    answers of a micro-batch, which makes it depend on the micro-batch).
    """

    kind: Literal["cpo"] = "cpo"
    needs: ClassVar[tuple[str, ...]] = ()
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=0.1, gt=0)
    nll_coef: float = Field(default=1.0, ge=0)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch, has_reference=False)
        logit = self.beta * pairs.margin
        return -logsigmoid(logit) - self.nll_coef * pairs.chosen_mean, pairs.metrics(logit)
