"""What a reward rule is, and the one place where what it says is checked."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Protocol

from trivium.core.errors import DataError
from trivium.score.said import Said


class RewardRule(Protocol):
    """A component of `reinforce rewards=[...]`; `weight` multiplies what it says."""

    @property
    def kind(self) -> str:
        """Its name."""
        ...

    @property
    def weight(self) -> float:
        """What it is multiplied with."""
        ...

    def __call__(self, answers: Sequence[Said]) -> Sequence[float]:
        """A finite number for each answer."""
        ...


def checked(rule: RewardRule, answers: Sequence[Said]) -> list[float]:
    """What a rule says. Raises DataError if that is not one finite number for each answer."""
    scores = list(rule(answers))
    if len(scores) != len(answers):
        raise DataError(f"the reward '{rule.kind}' gave {len(scores):,} numbers for {len(answers):,} answers")
    for score, answer in zip(scores, answers, strict=True):
        if isinstance(score, bool) or not isinstance(score, Real) or not _is_finite(score):
            raise DataError(f"the reward '{rule.kind}' gave {score!r} for the answer {answer.response[:60]!r}; a finite number is expected")
    return [float(score) for score in scores]


def _is_finite(score: Real) -> bool:
    try:
        return math.isfinite(score)
    except OverflowError:  # an integer that no float holds
        return False
