"""What a reward rule sees of an answer, and what it may say."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol

from trivium.core.errors import DataError
from trivium.core.types import Message


@dataclass(frozen=True, slots=True)
class Said:
    """An answer, the turns before it, and every field of the record that the prompt came from."""

    prompt: tuple[Message, ...]
    response: str
    is_stopped: bool  # by itself, not because it was too long
    fields: Mapping[str, Any]

    def field(self, name: str) -> str:
        """A field of the record as text. Raises DataError if it is not there."""
        value = self.fields.get(name)
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            return str(value[0])
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            there = ", ".join(sorted(self.fields)) or "none"
            raise DataError(f"a reward reads the field '{name}' of the prompts, which is missing or no text (found: {there})")
        return str(value)


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
        if isinstance(score, bool) or not isinstance(score, Real) or not math.isfinite(score):
            raise DataError(f"the reward '{rule.kind}' gave {score!r} for the answer {answer.response[:60]!r}; a finite number is expected")
    return [float(score) for score in scores]
