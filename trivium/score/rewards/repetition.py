"""Repetition: the answer does not say the same again and again."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.score.said import Said


@component
class Repetition:
    """Minus the share of an answer's n-grams of words that were there before, so 0 without repetition and near -1 for a loop."""

    kind: Literal["repetition"] = "repetition"
    n: int = Field(default=3, ge=1)
    weight: float = Field(default=1.0)

    def __call__(self, answers: Sequence[Said]) -> list[float]:
        """A number from -1 to 0 for each answer."""
        return [-repeated_share(said.response, self.n) for said in answers]


def repeated_share(text: str, n: int) -> float:
    """The share of a text's n-grams of words, in small letters, that were there before; 0 if there is none."""
    words = text.lower().split()
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
