"""BCO: a classifier of good and bad answers whose logit is the policy's own log-ratio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Group, Metrics
from trivium.learn.objectives.preference.labelled import Logprobs, labels_of, log_ratios, read_labels
from trivium.learn.objectives.preference.pairs import logsigmoid
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


@component
class BCO:
    """-log sigmoid(beta (log-ratio - d)) of a good answer, -log sigmoid(-beta (log-ratio - d)) of a bad one.

    Jung et al. 2024, arXiv:2404.04656, eq. 7; d is half-way between the mean log-ratios of the good and of the bad answers of the step
    (the paper: a running mean over steps; here nothing is remembered, so a run goes on with the same bits). Its weights by the density of
    prompts (section 4.2) are left out.
    """

    kind: Literal["bco"] = "bco"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs", "label", "baseline")
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=0.1, gt=0)  # see DPO

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every answer, (G,)."""
        log_ratio, label, shift, metrics = read_labels(out, batch)
        return -logsigmoid(self.beta * label * (log_ratio - shift)), metrics

    def of_step(self, groups: Sequence[Group], logprobs: Logprobs) -> list[Group]:
        """The answers of a step with d as the column `baseline`."""
        answers = [answer for [answer] in groups]
        log_ratio, label = log_ratios(answers, logprobs), labels_of(answers)
        means = [log_ratio[side].mean() for side in (label > 0, label <= 0) if side.any()]
        return [(answer.with_columns(baseline=np.full(len(answer.tokens), np.mean(means), np.float32)),) for answer in answers]
