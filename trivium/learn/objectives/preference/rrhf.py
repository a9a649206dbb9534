"""RRHF: ranks several answers by their log-probs a token, and imitates the best one."""

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
class RRHF:
    """Sum over pairs of max(0, log-prob a token of the worse - of the better) + nll_coef x negative log-prob of the best answer.

    Yuan et al. 2023, arXiv:2304.05302, eq. 2 to 4; the last term is summed over tokens there, and is here too. Of several best answers all
    are imitated, with equal weights. No reference is needed.
    """

    kind: Literal["rrhf"] = "rrhf"
    needs: ClassVar[tuple[str, ...]] = ("rank",)
    reduction: ClassVar[Reduction] = "group"
    nll_coef: float = Field(default=1.0, ge=0)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every ranking, (G,)."""
        sum_N, mean_N, rank_N = batch.sum(out.logprobs_BL), batch.mean(out.logprobs_BL), batch.mean(batch["rank"])
        better_NN = batch.better(rank_N).to(mean_N.dtype)
        gap_NN = mean_N[:, None] - mean_N[None, :]
        best_N = (better_NN.sum(0) == 0).to(mean_N.dtype)  # nobody is better
        share_N = best_N / batch.by_group(best_N)[batch.group_N].clamp(min=1)
        loss_G = batch.by_group((better_NN * (-gap_NN).relu()).sum(1) - self.nll_coef * share_N * sum_N)
        right = (better_NN * ((gap_NN > 0).float() + 0.5 * (gap_NN == 0))).sum()
        groups = torch.tensor(float(batch.num_groups), device=mean_N.device)
        return loss_G, {"accuracy": (right, better_NN.sum()), "best_logprob": ((share_N * mean_N).sum().detach(), groups)}
