"""Group mean: credit of an answer is how much better it is than the other answers to the same prompt (GRPO)."""

from typing import ClassVar, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.learn.credit.answers import Answers, Credit


@component
class GroupMean:
    """Reward minus the group's mean, for every token of the answer.

    scale none is Dr. GRPO (Liu et al. 2025, arXiv:2503.20783); scale std divides by the group's standard deviation + 1e-4
    with std_ddof degrees of freedom taken off (Shao et al. 2024, arXiv:2402.03300, section 4.1.2: GRPO as published); scale batch divides
    by that of all rewards of the phase.
    """

    kind: Literal["group_mean"] = "group_mean"
    min_answers: ClassVar[int] = 2
    needs_critic: ClassVar[bool] = False
    needs_greedy: ClassVar[bool] = False
    scale: Literal["none", "std", "batch"] = "none"
    std_ddof: int = Field(default=1, ge=0, le=1)

    def __call__(self, answers: Answers) -> Credit:
        """Advantages of the answers; all 0 for a prompt whose rewards are equal."""
        rewards = answers.groups(answers.rewards())
        centred = rewards - rewards.mean(1, keepdims=True)
        if self.scale == "batch":
            centred = centred / (rewards.std(ddof=self.std_ddof) + 1e-4)
        elif self.scale == "std" and answers.per_prompt > 1:
            centred = centred / (rewards.std(1, ddof=self.std_ddof, keepdims=True) + 1e-4)
        return Credit(answers.spread(centred.ravel()))
