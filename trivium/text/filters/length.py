"""Length: drops documents that are too short to say anything, or too long to be one document."""

from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.text.signals import Reasons, Signals, first_of


@component
class Length:
    """Bounds on the number of characters, both inclusive."""

    kind: Literal["length"] = "length"
    min_chars: int = Field(default=1, ge=0)
    max_chars: int = Field(default=10_000_000, ge=1)

    def judge(self, signals: Signals) -> Reasons:
        """The reason to drop each document, or None."""
        return first_of(("too short", signals.num_chars < self.min_chars), ("too long", signals.num_chars > self.max_chars))
