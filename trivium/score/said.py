"""What those who judge an answer see of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trivium.core.errors import DataError
from trivium.core.types import Message


@dataclass(frozen=True, slots=True)
class Said:
    """An answer, the turns before it, and every field of the record that the prompt came from."""

    prompt: tuple[Message, ...]
    response: str
    is_stopped: bool  # by itself, not because it was too long
    fields: Mapping[str, Any]

    def texts(self, name: str) -> list[str]:
        """A field that may be a list of texts, any of which will do. Raises DataError as `field` does."""
        value = self.fields.get(name)
        first = self.field(name)
        return [str(text) for text in value] if isinstance(value, list) else [first]

    def field(self, name: str) -> str:
        """A field of the record as text. Raises DataError if it is not there."""
        value = self.fields.get(name)
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            return str(value[0])
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            there = ", ".join(sorted(self.fields)) or "none"
            raise DataError(f"a reward reads the field '{name}' of the prompts, which is missing or no text (found: {there})")
        return str(value)
