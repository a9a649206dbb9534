"""WPO: pairs that the policy itself could have said count more, as if they were on-policy."""

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
class WPO:
    """DPO's loss of a pair times the probabilities of both answers a token, as constants.

    Zhou et al. 2024, arXiv:2406.11827, eq. 3: the weight is e^(log-prob a token of the better + of the worse). The paper's alignment of
    weights among sampled tokens (section 3.3) is left out.
    """

    kind: Literal["wpo"] = "wpo"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs",)
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=0.1, gt=0)  # see DPO

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch)
        logit = self.beta * pairs.margin
        weight = (pairs.chosen_mean + pairs.rejected_mean).detach().exp()
        return -weight * logsigmoid(logit), pairs.metrics(logit)
