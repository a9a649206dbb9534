"""Scored answers: what a credit rule sees of one phase of sampling."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Answers:
    """N answers, those to one prompt next to each other, `per_prompt` of them each.

    scores: (N,), the reward of whole answers. penalties: of each answer its (T,) KL penalty a token, kl_coef x k1, in units of the score.
    values: of each answer the critic's (T,) estimates before each token. greedy: (N,), the score of the greedy answer to the same prompt.
    wins: (N,), the probability that the answer is preferred to an opponent's. teacher: of each answer (T,), log teacher - log policy.
    """

    scores: np.ndarray
    penalties: Sequence[np.ndarray]
    per_prompt: int = 1
    values: Sequence[np.ndarray] | None = None
    greedy: np.ndarray | None = None
    wins: np.ndarray | None = None
    teacher: Sequence[np.ndarray] | None = None

    def rewards(self) -> np.ndarray:
        """The scores less the penalty of the whole answer, (N,)."""
        return self.scores - np.array([penalty.sum() for penalty in self.penalties])

    def groups(self, x_N: np.ndarray) -> np.ndarray:
        """(prompts, per_prompt)."""
        return x_N.reshape(-1, self.per_prompt)

    def spread(self, advantages_N: np.ndarray) -> list[np.ndarray]:
        """One advantage for all tokens of an answer."""
        return [np.full(len(penalty), advantage) for penalty, advantage in zip(self.penalties, advantages_N, strict=True)]


@dataclass(frozen=True, slots=True)
class Credit:
    """What a rule says: advantages of each answer, (T,), and with a critic what it should have said, (T,)."""

    advantages: list[np.ndarray]
    returns: list[np.ndarray] | None = None
