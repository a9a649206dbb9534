"""EXO: fits the policy's preference to the labels' in the direction of KL that the policy optimisation has."""

from __future__ import annotations

import math
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
class EXO:
    """KL(p || h) of two answers: p = softmax of beta x log-ratios, h = (1 - label_noise, label_noise).

    Ji et al. 2024, arXiv:2402.00856, eq. 13 for two answers (EXO-pref); the label is smoothed, as h must not be 0.
    """

    kind: Literal["exo"] = "exo"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs",)
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=0.1, gt=0)  # see DPO
    label_noise: float = Field(default=1e-3, gt=0, lt=0.5)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch)
        logit, noise = self.beta * pairs.margin, self.label_noise
        log_p, log_q = logsigmoid(logit), logsigmoid(-logit)
        return log_p.exp() * (log_p - math.log1p(-noise)) + log_q.exp() * (log_q - math.log(noise)), pairs.metrics(logit)
