"""Format: the answer has the form that a pattern describes."""

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.score.said import Said


@component
class Format:
    """1 if the whole answer fits a regular expression (dots match line breaks), else 0.

    Small weights serve: a format alone is easily learned instead of what it should hold.
    """

    kind: Literal["format"] = "format"
    pattern: str
    weight: float = Field(default=0.1)

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern is no regular expression: {error}") from None

    def __call__(self, answers: Sequence[Said]) -> list[float]:
        """1 or 0 for each answer."""
        pattern = re.compile(self.pattern, re.DOTALL)
        return [float(pattern.fullmatch(said.response.strip()) is not None) for said in answers]
