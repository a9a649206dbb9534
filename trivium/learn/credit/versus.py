"""Versus: an answer is worth how often it beats that of an opponent, who is a step behind (Nash-MD)."""

from typing import ClassVar, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.learn.credit.answers import Answers, Credit


@component
class Versus:
    """The probability that the answer is preferred to the opponent's, less a half, less the KL penalty; for every token.

    Munos et al. 2023, arXiv:2312.00886, section 7 (Nash-MD-PG); kl_coef is tau there. The opponent says each token by the policy's
    distribution to the power of 1 - mixture times the reference's to the power of mixture: mixture 0 is self-play, 1 the reference itself.
    That policy is sought which no other is preferred to, so preferences may run in a circle. Differences: the log-ratio of the opponent's
    answer, which has no slope, is left out of the baseline; the preference is the logistic of a difference of rewards, which a reward model
    of ours has in units of their standard deviation, so it is flatter than the one that the model learned where that deviation was above 1.
    """

    kind: Literal["versus"] = "versus"
    min_answers: ClassVar[int] = 1
    needs_critic: ClassVar[bool] = False
    needs_greedy: ClassVar[bool] = False
    mixture: float = Field(default=0.125, ge=0, le=1)

    def __call__(self, answers: Answers) -> Credit:
        """Advantages of the answers."""
        if answers.wins is None:
            raise RuntimeError("versus needs an opponent")
        return Credit(answers.spread(answers.wins - 0.5 + answers.rewards() - answers.scores))
