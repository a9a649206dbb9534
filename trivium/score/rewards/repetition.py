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
        return [self._of(said.response.lower().split()) for said in answers]

    def _of(self, words: list[str]) -> float:
        grams = [tuple(words[i : i + self.n]) for i in range(len(words) - self.n + 1)]
        return len(set(grams)) / len(grams) - 1 if grams else 0.0
