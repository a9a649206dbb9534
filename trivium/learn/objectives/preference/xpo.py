"""XPO: online DPO that is drawn away from what the reference says, so that it goes on to explore."""

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
class XPO:
    """DPO's loss + optimism x log policy of the answer that the reference gave; a pair is an answer of either.

    Xie et al. 2024, arXiv:2405.21046, algorithm 1, whose alpha optimism is. Where the reference's own answers become less likely, others
    become more so. Differences: a pair is learned from in the phase in which it was sampled, not in all later ones too, and the sums over
    the pairs are means.
    """

    kind: Literal["xpo"] = "xpo"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs", "from_reference")
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=0.1, gt=0)  # see DPO
    optimism: float = Field(default=1e-5, ge=0)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch)
        logit = self.beta * pairs.margin
        explored = batch.by_group(batch.sum(out.logprobs_BL * batch["from_reference"]))
        metrics = pairs.metrics(logit) | {"reference_answer_logprob": (explored.detach().sum(), logit.new_tensor(len(logit)))}
        return -logsigmoid(logit) + self.optimism * explored, metrics
