"""Exact: the answer is the expected text."""

import re
import string
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.score.said import Said

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@component
class Exact:
    """1 if the answer, without outer white space and capitals, is the text in `field` of the prompt's record, or one of its texts, else 0.

    is_loose: without punctuation and articles, too (Rajpurkar et al. 2016, arXiv:1606.05250, section 6.1).
    """

    kind: Literal["exact"] = "exact"
    field: str = "answer"
    is_loose: bool = False
    weight: float = Field(default=1.0)

    def __call__(self, answers: Sequence[Said]) -> list[float]:
        """1 or 0 for each answer."""
        plain = _loose if self.is_loose else plain_text
        return [float(plain(said.response) in map(plain, self.expected(said))) for said in answers]

    def expected(self, said: Said) -> list[str]:
        """Every text that is right. Raises DataError if the record has none."""
        return said.texts(self.field)


def plain_text(text: str) -> str:
    """A text without outer and doubled white space, in small letters."""
    return " ".join(text.casefold().split())


def _loose(text: str) -> str:
    return plain_text(_ARTICLES.sub(" ", text.casefold().translate(_PUNCTUATION)))
