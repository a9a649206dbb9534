"""NCA: the better answer's likelihood is pushed up in itself, not only above that of the worse one."""

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
class NCA:
    """-log sigmoid(beta r_better) - 0.5 log sigmoid(-beta r_better) - 0.5 log sigmoid(-beta r_worse), r the log-ratios.

    Chen et al. 2024, arXiv:2402.05369, eq. 12 for two answers.
    """

    kind: Literal["nca"] = "nca"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs",)
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=0.1, gt=0)  # see DPO

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch)
        better, worse = self.beta * pairs.chosen_log_ratio, self.beta * pairs.rejected_log_ratio
        return -logsigmoid(better) - 0.5 * logsigmoid(-better) - 0.5 * logsigmoid(-worse), pairs.metrics(better - worse)
