"""KTO: learns from single answers that were found good or bad, by how people weigh gains and losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Group, Metrics
from trivium.learn.objectives.preference.labelled import Logprobs, log_ratios, read_labels
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


@component
class KTO:
    """1 - sigmoid(beta (log-ratio - z)) of a good answer, 1 - sigmoid(beta (z - log-ratio)) of a bad one, each with its weight.

    Ethayarajh et al. 2024, arXiv:2402.01306, eq. 8. z is what the policy's KL from the reference is about: the mean log-ratio of answers
    that belong to other prompts, not below 0, over all of the step, without a slope. The partner whose answer a prompt gets is fixed for
    all of the training (the paper: a neighbour in the batch), so the reference reads it once. good_weight x good answers should be
    between 1 and 4/3 of bad_weight x bad answers.
    """

    kind: Literal["kto"] = "kto"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs", "label", "baseline")
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=0.1, gt=0)  # see DPO
    good_weight: float = Field(default=1.0, ge=0)
    bad_weight: float = Field(default=1.0, ge=0)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every answer, (G,)."""
        log_ratio, label, z, metrics = read_labels(out, batch)
        lost = (-self.beta * label * (log_ratio - z)).sigmoid()
        weight = self.good_weight * (label > 0) + self.bad_weight * (label <= 0)
        return weight * lost, metrics

    def of_step(self, groups: Sequence[Group], logprobs: Logprobs) -> list[Group]:
        """The answers of a step with z as the column `baseline`. groups: each an answer and one that belongs to another prompt."""
        z = max(0.0, float(log_ratios([mismatch for _, mismatch in groups], logprobs).mean()))
        return [(answer.with_columns(baseline=np.full(len(answer.tokens), z, np.float32)),) for answer, _ in groups]
