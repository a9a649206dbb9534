"""TDPO: DPO that weighs, token by token, how far the policy has drifted from the reference on each answer."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from trivium.core.config import component, is_set
from trivium.core.types import Metrics
from trivium.learn.objectives.preference.pairs import logsigmoid, read_pairs
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


@component
class TDPO:
    """-log sigmoid(beta (margin - weight (D(worse) - D(better)))), D the KL(reference || policy) summed over the places of an answer.

    Zeng et al. 2024, arXiv:2404.11999, eq. 16 (version 1, weight 1) and eq. 17 (version 2: D(better) is a constant). The divergence is
    exact, over the whole vocabulary: the reference is read beside the policy in every step.
    """

    kind: Literal["tdpo"] = "tdpo"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs",)
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=0.1, gt=0)  # see DPO
    version: Literal[1, 2] = 2
    weight: float = Field(default=0.5, ge=0)  # version 2's alpha

    def __post_init__(self) -> None:
        if self.version == 1 and is_set(self, "weight"):
            raise ValueError(f"weight is {self.weight:g}, but version 1 has none (eq. 16); leave it out, or take version=2")

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch)
        better, worse = batch.pairs(batch.sum(out.reference_kl_BL))
        drift = worse - better if self.version == 1 else self.weight * (worse - better.detach())
        logit = self.beta * (pairs.margin - drift)
        count = logit.new_tensor(len(logit))
        drifts = {"chosen_kl": (better.detach().sum(), count), "rejected_kl": (worse.detach().sum(), count)}
        return -logsigmoid(logit), pairs.metrics(logit) | drifts
