"""SimPO: what is compared is the log-prob a token, as in decoding; no reference is needed."""

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
class SimPO:
    """-log sigmoid(beta (log-prob a token of the better - of the worse) - gamma).

    Meng et al. 2024, arXiv:2405.14734, eq. 6. beta is 2 to 10 there, and gamma 0.3 to 0.8 of it.
    """

    kind: Literal["simpo"] = "simpo"
    needs: ClassVar[tuple[str, ...]] = ()
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=2.0, gt=0)
    gamma: float = Field(default=1.0, ge=0)  # how much better the better answer must be before the slope fades

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch, has_reference=False)
        score = self.beta * (pairs.chosen_mean - pairs.rejected_mean)
        return -logsigmoid(score - self.gamma), pairs.metrics(score)
