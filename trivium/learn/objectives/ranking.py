"""Ranking: a reward model learns which answer people put first."""

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
class Ranking:
    """Bradley-Terry over all pairs of a ranking: -log sigmoid(s_better - s_worse - margin), mean over the pairs of a prompt.

    Ouyang et al. 2022, arXiv:2203.02155, section 3.5, eq. 1: the K answers to a prompt are one batch element, ties are dropped.
    Two answers give the pairwise loss. The score is read at the last token. `centre` adds centre x (mean score of the group)^2,
    which pins the level that the loss leaves free (TRL's centring penalty, on groups instead of pairs).
    """

    kind: Literal["ranking"] = "ranking"
    needs: ClassVar[tuple[str, ...]] = ("rank",)
    reduction: ClassVar[Reduction] = "group"
    reads_entropy: ClassVar[bool] = False
    margin: float = Field(default=0.0, ge=0)
    centre: float = Field(default=0.0, ge=0)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every group, (G,); a group whose answers are all tied gives 0."""
        score_N, rank_N = batch.last(out.scores_BL), batch.last(batch["rank"])
        better_NN = batch.better(rank_N).to(score_N.dtype)
        gap_NN = score_N[:, None] - score_N[None, :]
        pair_loss = -torch.nn.functional.logsigmoid(gap_NN - self.margin) * better_NN
        loss_G, pairs_G = batch.by_group(pair_loss.sum(1)), batch.by_group(better_NN.sum(1))
        right_G = batch.by_group((better_NN * ((gap_NN > 0).float() + 0.5 * (gap_NN == 0))).sum(1))
        loss_G = loss_G / pairs_G.clamp(min=1)
        if self.centre:
            mean_G = batch.by_group(score_N) / batch.by_group(torch.ones_like(score_N))
            loss_G = loss_G + self.centre * mean_G**2
        return loss_G, {"accuracy": (right_G.sum(), pairs_G.sum())}
