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

    Ouyang et al. 2022, arXiv:2203.02155, section 3.5, eq. 1: the K answers to a prompt are one batch element, ties are dropped;
    ties=half gives a tie half of the loss in either direction instead. Two answers give the pairwise loss. The score is read at the last
    token. has_margins takes margins from the data, larger where people were surer (Llama 2: Touvron et al. 2023, arXiv:2307.09288, eq. 2).
    has_probs takes from the data how probable it is that the first answer is the better one, and mixes both directions by it. `centre` adds
    centre x (mean score of the group)^2, which pins the level that the loss leaves free (TRL's centring, on groups instead of pairs).
    is_length_free: after training, what a straight line through the number of tokens says of the scores (least squares, on the training
    answers) is taken off them wherever answers are judged; for annotators who like long answers for being long.
    """

    kind: Literal["ranking"] = "ranking"
    reduction: ClassVar[Reduction] = "group"
    margin: float = Field(default=0.0, ge=0)
    has_margins: bool = False
    has_probs: bool = False
    ties: Literal["drop", "half"] = "drop"
    centre: float = Field(default=0.0, ge=0)
    is_length_free: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns it reads."""
        return ("rank", *(["margin"] if self.has_margins else []), *(["prob"] if self.has_probs else []))

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every group, (G,); a group whose answers are all tied gives 0, or log 2 and more with ties=half."""
        score_N, rank_N = batch.last(out.scores_BL), batch.last(batch["rank"])
        better_NN = batch.better(rank_N).to(score_N.dtype)
        gap_NN = score_N[:, None] - score_N[None, :]
        apart_NN = gap_NN - self.margin - (batch.last(batch["margin"])[:, None] if self.has_margins else 0)
        log_right, log_wrong = torch.nn.functional.logsigmoid(apart_NN), torch.nn.functional.logsigmoid(-apart_NN)
        prob_NN = batch.last(batch["prob"])[:, None] if self.has_probs else 1.0
        pair_NN, weight_NN = -(prob_NN * log_right + (1 - prob_NN) * log_wrong), better_NN
        if self.ties == "half":
            tied_NN = self._tied(rank_N, batch).to(score_N.dtype)
            even_NN = -0.5 * (torch.nn.functional.logsigmoid(gap_NN) + torch.nn.functional.logsigmoid(-gap_NN))
            pair_NN, weight_NN = torch.where(tied_NN > 0, even_NN, pair_NN), better_NN + tied_NN
        loss_G = batch.by_group((pair_NN * weight_NN).sum(1)) / batch.by_group(weight_NN.sum(1)).clamp(min=1)
        right_G = batch.by_group((better_NN * ((gap_NN > 0).float() + 0.5 * (gap_NN == 0))).sum(1))
        if self.centre:
            mean_G = batch.by_group(score_N) / batch.by_group(torch.ones_like(score_N))
            loss_G = loss_G + self.centre * mean_G**2
        return loss_G, {"accuracy": (right_G.sum(), better_NN.sum())}

    def _tied(self, rank_N: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Pairs of one group with equal ranks, each once."""
        return ((batch.group_N[:, None] == batch.group_N[None, :]) & (rank_N[:, None] == rank_N[None, :])).triu(1)
