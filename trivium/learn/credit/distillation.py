"""Distillation: every token is worth how much more likely a teacher finds it than the policy does."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.learn.credit.answers import Answers, Credit
from trivium.learn.credit.batch_mean import to_go


@component
class Distillation:
    """log teacher - log policy of each token that the policy said: on average the slope of KL(policy || teacher), token by token.

    Lu and Thinking Machines Lab 2025, "On-policy distillation"; the reverse KL of Agarwal et al. 2023, arXiv:2306.13649, from samples
    alone, so the teacher is asked for one number a token (GKD as objective reads its whole distribution). gamma 0 lets a token answer for
    itself only, as there; gamma 1 for all that follows, which is the slope of the KL between whole answers. Scores are not learned from.
    """

    kind: Literal["distillation"] = "distillation"
    min_answers: ClassVar[int] = 1
    needs_critic: ClassVar[bool] = False
    needs_greedy: ClassVar[bool] = False
    gamma: float = Field(default=0.0, ge=0, le=1)

    def __call__(self, answers: Answers) -> Credit:
        """Advantages of the tokens of each answer."""
        if answers.teacher is None:
            raise RuntimeError("distillation needs a teacher")
        pairs = zip(answers.teacher, answers.penalties, strict=True)
        return Credit([to_go(gap.astype(np.float64) - penalty, self.gamma) for gap, penalty in pairs])
