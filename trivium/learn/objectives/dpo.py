"""DPO: preferences change the policy directly, without a reward model."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Metrics
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


@component
class DPO:
    """-log sigmoid(beta (log-ratio of the better - log-ratio of the worse)), log-ratios against the reference, summed over tokens.

    Rafailov et al. 2023, arXiv:2305.18290, eq. 7. label_noise is the share of pairs believed to be swapped: the loss is then
    the mixture of both directions (Mitchell 2023, "cDPO"). Groups are pairs, the better one first.
    """

    kind: Literal["dpo"] = "dpo"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs",)
    reduction: ClassVar[Reduction] = "group"
    reads_entropy: ClassVar[bool] = False
    beta: float = Field(default=0.1, gt=0)  # small: the policy may move far from the reference
    label_noise: float = Field(default=0.0, ge=0, lt=0.5)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,). Raises DataError if a group is not a pair."""
        better_G, worse_G = batch.pairs(batch.sum(out.logprobs_BL - batch["ref_logprobs"]))
        logit_G = self.beta * (better_G - worse_G)
        loss_G = -torch.nn.functional.logsigmoid(logit_G)
        if self.label_noise:
            loss_G = (1 - self.label_noise) * loss_G - self.label_noise * torch.nn.functional.logsigmoid(-logit_G)
        pairs = logit_G.new_tensor(batch.num_groups)
        right = (logit_G > 0).float() + 0.5 * (logit_G == 0)
        shift = {"chosen_log_ratio": (better_G.sum(), pairs), "rejected_log_ratio": (worse_G.sum(), pairs)}
        return loss_G, {"accuracy": (right.sum(), pairs), "margin": (logit_G.sum(), pairs), **shift}
