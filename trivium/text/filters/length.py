"""Length: drops documents that are too short to say anything, or too long to be one document."""

from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Document


@component
class Length:
    """Bounds on the number of characters, both inclusive."""

    kind: Literal["length"] = "length"
    min_chars: int = Field(default=1, ge=0)
    max_chars: int = Field(default=10_000_000, ge=1)

    def __call__(self, document: Document) -> str | None:
        """The reason to drop the document, or None."""
        if len(document.text) < self.min_chars:
            return "too short"
        return "too long" if len(document.text) > self.max_chars else None
