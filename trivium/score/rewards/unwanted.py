"""Unwanted: the answer holds none of the phrases that it should not hold."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from trivium.core.config import Texts, component
from trivium.score.said import Said
from trivium.text.phrases import phrases_in


@component
class Unwanted:
    """0 for an answer without any of the phrases, and 1 less for each that it holds; whole words, upper or lower case."""

    kind: Literal["unwanted"] = "unwanted"
    phrases: Texts
    weight: float = Field(default=1.0)

    def __post_init__(self) -> None:
        if not self.phrases or not all(phrase.strip() for phrase in self.phrases):
            raise ValueError("phrases is empty, or has an empty phrase; name what an answer should not hold")

    def __call__(self, answers: Sequence[Said]) -> list[float]:
        """A whole number of at most 0 for each answer."""
        return [-float(len(phrases_in(said.response, self.phrases))) for said in answers]
