"""AOT: the whole distribution of better answers is to lie above that of the worse ones, not each pair by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Example, Group, Metrics
from trivium.learn.objectives.preference.labelled import Logprobs, log_ratios
from trivium.learn.objectives.preference.pairs import logsigmoid, read_pairs
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


@component
class AOT:
    """-log sigmoid(beta (policy's margin - the reference's margin of the same place)), both sorted over the pairs of a step.

    Melnyk et al. 2024, arXiv:2406.05882, eq. 8 (paired) and eq. 7 (unpaired: the sorted log-ratios of the better answers beside the sorted
    ones of the worse). The order is that of the policy before the step. It needs many pairs a step.
    """

    kind: Literal["aot"] = "aot"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs", "baseline")
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=0.1, gt=0)  # see DPO
    is_paired: bool = True

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch)
        baseline, _ = batch.pairs(batch.mean(batch["baseline"]))
        logit = self.beta * (pairs.chosen - pairs.rejected - baseline)
        return -logsigmoid(logit), pairs.metrics(logit)

    def of_step(self, groups: Sequence[Group], logprobs: Logprobs) -> list[Group]:
        """The pairs of a step, unpaired in a new order, with the reference's margin to compare with as the column `baseline`."""
        better, worse = [group[0] for group in groups], [group[1] for group in groups]
        if not self.is_paired:
            better = [better[i] for i in np.argsort(log_ratios(better, logprobs), kind="stable")]
            worse = [worse[i] for i in np.argsort(log_ratios(worse, logprobs), kind="stable")]
        reference = _margins(better, worse, _reference)
        if self.is_paired:
            place = np.argsort(np.argsort(_margins(better, worse, logprobs), kind="stable"), kind="stable")
            reference = np.sort(reference)[place]
        return [(_with(a, margin), _with(b, margin)) for a, b, margin in zip(better, worse, reference, strict=True)]


def _margins(better: Sequence[Example], worse: Sequence[Example], logprobs: Logprobs) -> np.ndarray:
    sums = [[float(x[item.loss_mask > 0].sum()) for item, x in zip(side, logprobs(side), strict=True)] for side in (better, worse)]
    return np.array(sums[0]) - np.array(sums[1])


def _reference(answers: Sequence[Example]) -> list[np.ndarray]:
    return [answer.columns["ref_logprobs"] for answer in answers]


def _with(answer: Example, margin: float) -> Example:
    return answer.with_columns(baseline=np.full(len(answer.tokens), margin, np.float32))
