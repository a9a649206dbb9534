"""Process: a reward model learns of every step of a solution whether it is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Metrics
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


@component
class Process:
    """Binary cross-entropy of "this step is right" at the token that ends the step, mean over the steps that were judged.

    Uesato et al. 2022, arXiv:2211.14275; Lightman et al. 2023, arXiv:2305.20050 (PRM800K), section 2.6. The score at a step's end is its
    log-odds. Difference: one number a step, not a word of the language head. separator: what stands between steps in the text of an answer.
    neutral: what a step rated 0 by PRM800K's people is; good, as Lightman et al. take it when they score. score: what an answer is worth,
    the product of its steps' probabilities, their minimum or mean, or the last one alone; then no other step is trained, which is an
    outcome reward model (Cobbe et al. 2021, arXiv:2110.14168, read at the end only).
    """

    kind: Literal["process"] = "process"
    needs: ClassVar[tuple[str, ...]] = ("correct",)
    reduction: ClassVar[Reduction] = "token"
    separator: str = Field(default="\n", min_length=1)
    neutral: Literal["good", "bad", "drop"] = "good"
    score: Literal["product", "minimum", "mean", "last"] = "product"

    @property
    def neutral_label(self) -> float | None:
        """What a neutral step is worth; None: nothing is learned from it."""
        return {"good": 1.0, "bad": 0.0, "drop": None}[self.neutral]

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every step at its last token, (B, L)."""
        log_odds_BL, correct_BL = out.scores_BL, batch["correct"]
        loss_BL = torch.nn.functional.softplus(log_odds_BL) - correct_BL * log_odds_BL
        judged = (batch.loss_mask_BL > 0).float()
        right = ((log_odds_BL > 0) == (correct_BL > 0.5)).float() * judged
        return loss_BL, {"accuracy": (right.sum(), judged.sum())}

    def of_answer(self, log_odds: Sequence[float] | np.ndarray) -> float:
        """The score of an answer, in [0, 1], from the log-odds at the ends of its steps."""
        right = 0.5 * (1 + np.tanh(0.5 * np.asarray(log_odds, np.float64)))  # the sigmoid, without overflow
        return float({"product": right.prod(), "minimum": right.min(), "mean": right.mean(), "last": right[-1]}[self.score])
