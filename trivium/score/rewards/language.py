"""Language: the answer is in the wanted language."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Document
from trivium.score.said import Said
from trivium.text.filters.language import Language as Filter
from trivium.text.signals import Signals

MIN_CONFIDENCE = 0.5  # lower than in cleaning, as answers are short


@component
class Language:
    """1 if the answer is in one of the languages, by the identification that cleaning uses, else 0; an empty answer is in none."""

    kind: Literal["language"] = "language"
    languages: tuple[str, ...] = Field(default=("en",), min_length=1)
    weight: float = Field(default=1.0)

    def __post_init__(self) -> None:
        self._filter()

    def __call__(self, answers: Sequence[Said]) -> list[float]:
        """1 or 0 for each answer."""
        reasons = self._filter().judge(Signals([Document(said.response) for said in answers]))
        return [float(bool(said.response.strip()) and reason is None) for said, reason in zip(answers, reasons, strict=True)]

    def _filter(self) -> Filter:
        return Filter(languages=self.languages, min_confidence=MIN_CONFIDENCE)
