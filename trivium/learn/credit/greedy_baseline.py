"""Greedy baseline: an answer is compared with the one the policy gives without chance (ReMax)."""

from typing import ClassVar, Literal

from trivium.core.config import component
from trivium.learn.credit.answers import Answers, Credit


@component
class GreedyBaseline:
    """Reward minus the score of the greedy answer to the same prompt, for every token.

    Li et al. 2023, arXiv:2310.10505, algorithm 1. It costs one more answer a prompt, which is not trained on. Difference: the KL penalty
    of the whole answer is part of the reward (there: per token).
    """

    kind: Literal["greedy_baseline"] = "greedy_baseline"
    min_answers: ClassVar[int] = 1
    needs_critic: ClassVar[bool] = False
    needs_greedy: ClassVar[bool] = True

    def __call__(self, answers: Answers) -> Credit:
        """Advantages of the answers."""
        if answers.greedy is None:
            raise RuntimeError("greedy_baseline needs the scores of greedy answers")
        return Credit(answers.spread(answers.rewards() - answers.greedy))
