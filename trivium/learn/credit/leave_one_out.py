"""Leave one out: an answer is compared with the mean of the others to the same prompt (RLOO)."""

from typing import ClassVar, Literal

from trivium.core.config import component
from trivium.learn.credit.answers import Answers, Credit


@component
class LeaveOneOut:
    """Reward minus the mean reward of the other answers to the prompt, for every token: an unbiased baseline.

    Kool et al. 2019 and Ahmadian et al. 2024, arXiv:2402.14740, section 2.3. It is K / (K - 1) times the distance from the group's mean.
    """

    kind: Literal["leave_one_out"] = "leave_one_out"
    min_answers: ClassVar[int] = 2
    needs_critic: ClassVar[bool] = False
    needs_greedy: ClassVar[bool] = False

    def __call__(self, answers: Answers) -> Credit:
        """Advantages of the answers."""
        rewards = answers.groups(answers.rewards())
        others = (rewards.sum(1, keepdims=True) - rewards) / (answers.per_prompt - 1)
        return Credit(answers.spread((rewards - others).ravel()))
