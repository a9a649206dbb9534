"""ORPO: one stage instead of two; it imitates the better answer and makes its odds beat those of the worse one."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Metrics
from trivium.learn.objectives.preference.pairs import log1mexp, logsigmoid, read_pairs
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


@component
class ORPO:
    """Negative log-prob a token of the better answer - odds_coef x log sigmoid(log odds of the better - log odds of the worse).

    Hong et al. 2024, arXiv:2403.07691, eq. 6 and 7; odds_coef is its lambda, and the odds are those of the mean log-prob a token. Only
    the answer is imitated (TRL imitates the prompt too). No reference is needed.
    """

    kind: Literal["orpo"] = "orpo"
    needs: ClassVar[tuple[str, ...]] = ()
    reduction: ClassVar[Reduction] = "group"
    odds_coef: float = Field(default=0.1, gt=0)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch, has_reference=False)
        log_odds = pairs.chosen_mean - pairs.rejected_mean - log1mexp(pairs.chosen_mean) + log1mexp(pairs.rejected_mean)
        return -pairs.chosen_mean - self.odds_coef * logsigmoid(log_odds), pairs.metrics(log_odds)
