"""Exact: the answer is the expected text."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.score.said import Said


@component
class Exact:
    """1 if the answer, without outer white space and capitals, is the text in `field` of the prompt's record, else 0."""

    kind: Literal["exact"] = "exact"
    field: str = "answer"
    weight: float = Field(default=1.0)

    def __call__(self, answers: Sequence[Said]) -> list[float]:
        """1 or 0 for each answer."""
        return [float(plain_text(said.response) == self.expected(said)) for said in answers]

    def expected(self, said: Said) -> str:
        """What the answer should be. Raises DataError if the record has no such text."""
        return plain_text(said.field(self.field))


def plain_text(text: str) -> str:
    """A text without outer and doubled white space, in small letters."""
    return " ".join(text.casefold().split())
