"""Length: the answer is neither too short nor too long."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.score.said import Said


@component
class Length:
    """0 for answers of min_words to max_words; below, what is missing of the minimum, above, the excess, as a share and negative, to -1."""

    kind: Literal["length"] = "length"
    min_words: int = Field(default=0, ge=0)
    max_words: int = Field(gt=0)
    weight: float = Field(default=1.0)

    def __post_init__(self) -> None:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words ({self.min_words}) is above max_words ({self.max_words})")

    def __call__(self, answers: Sequence[Said]) -> list[float]:
        """A number from -1 to 0 for each answer."""
        return [self._of(len(said.response.split())) for said in answers]

    def _of(self, words: int) -> float:
        if words < self.min_words:
            return words / self.min_words - 1
        return max(-1.0, 1 - words / self.max_words) if words > self.max_words else 0.0
