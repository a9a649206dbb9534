"""DPO: preferences change the policy directly, without a reward model."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Metrics
from trivium.learn.objectives.preference.pairs import logsigmoid, mixed, read_pairs
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


@component
class DPO:
    """-log sigmoid(beta (log-ratio of the better - log-ratio of the worse)), log-ratios against the reference, summed over tokens.

    Rafailov et al. 2023, arXiv:2305.18290, eq. 7. label_noise is the share of pairs believed to be swapped: the loss is then
    the mixture of both directions (Mitchell 2023, "cDPO"); with has_probs the data says of each pair how probable it is that the better
    one is better, and the loss is the mixture by it. is_per_token divides each log-ratio by the length of its answer.
    nll_coef adds so much of the better answer's negative log-prob a token, which holds it up where both answers become less
    likely (RPO: Pang et al. 2024, arXiv:2404.19733, eq. 1). Groups are pairs, the better one first.
    """

    kind: Literal["dpo"] = "dpo"
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=0.1, gt=0)  # small: the policy may move far from the reference
    label_noise: float = Field(default=0.0, ge=0, lt=0.5)
    has_probs: bool = False
    is_per_token: bool = False
    nll_coef: float = Field(default=0.0, ge=0)

    def __post_init__(self) -> None:
        if self.has_probs and self.label_noise:
            raise ValueError("label_noise is one number for all pairs, and with has_probs the data has one for each; leave one of them out")

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns it reads."""
        return ("ref_logprobs", *(["prob"] if self.has_probs else []))

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,). Raises DataError if a group is not a pair."""
        pairs = read_pairs(out, batch)
        margin = pairs.margin_a_token if self.is_per_token else pairs.margin
        logit = self.beta * margin
        loss = mixed(logit, self.label_noise)
        if self.has_probs:
            prob, _ = batch.pairs(batch.last(batch["prob"]))
            loss = -prob * logsigmoid(logit) - (1 - prob) * logsigmoid(-logit)
        if self.nll_coef:
            loss = loss - self.nll_coef * pairs.chosen_mean
        return loss, pairs.metrics(logit)
