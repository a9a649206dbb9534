"""Numeric: the last number of the answer is the expected one."""

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.score.said import Said

_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|-?\.\d+")
MAX_CHARACTERS = 20_000  # of the end of an answer


@component
class Numeric:
    """1 if the last number of the answer is the last number of the text in `field`, else 0.

    The last one only, so that naming many numbers does not help. Commas between thousands are read; GSM8K's "#### 72" is, too.
    after: a mark, such as "####", behind which the answer's number must stand.
    """

    kind: Literal["numeric"] = "numeric"
    field: str = "answer"
    after: str = ""
    tolerance: float = Field(default=0.0, ge=0)  # relative
    weight: float = Field(default=1.0)

    def __call__(self, answers: Sequence[Said]) -> list[float]:
        """1 or 0 for each answer."""
        return [float(self._is_right(said)) for said in answers]

    def expected(self, said: Said) -> Decimal:
        """What the answer should be. Raises DataError if the record has no such text, or the text no number."""
        text = said.field(self.field)
        if (number := last_number(text)) is None:
            raise DataError(f"the reward 'numeric' finds no number in the field '{self.field}' of a prompt: {text[:60]!r}")
        return number

    def _is_right(self, said: Said) -> bool:
        expected, text = self.expected(said), said.response
        if self.after:
            before, mark, text = text.rpartition(self.after)
            if not mark:
                return False
        found = last_number(text)
        return found is not None and abs(found - expected) <= Decimal(self.tolerance) * abs(expected)


def last_number(text: str) -> Decimal | None:
    """The last number in a text, exactly as it is written."""
    found = _NUMBER.findall(text[-MAX_CHARACTERS:])
    try:
        return Decimal(found[-1].replace(",", "")) if found else None
    except InvalidOperation:
        return None
