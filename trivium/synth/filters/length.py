"""Length: drops conversations whose queries or answers are too short to say anything, or too long to be read."""

from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import ConfigError
from trivium.core.types import Conversation
from trivium.synth.filters.rule import said_by


@component
class Length:
    """Bounds on the words of each query and each answer, inclusive. Alpaca's for instructions were 4 and 150; many questions have 3."""

    kind: Literal["length"] = "length"
    min_words: int = Field(default=3, ge=0)
    max_words: int = Field(default=150, ge=1)
    min_answer_words: int = Field(default=3, ge=0)
    max_answer_words: int = Field(default=1000, ge=1)

    def __post_init__(self) -> None:
        for name, least, most in (
            ("words", self.min_words, self.max_words),
            ("answer_words", self.min_answer_words, self.max_answer_words),
        ):
            if least > most:
                raise ConfigError(f"the filter 'length': min_{name} is {least}, above max_{name}, {most}, so nothing would be kept")

    def why(self, chat: Conversation) -> str | None:
        """The reason to drop a conversation, or None."""
        bounds = (("user", "query", self.min_words, self.max_words), ("assistant", "answer", self.min_answer_words, self.max_answer_words))
        for role, name, least, most in bounds:
            counts = [len(text.split()) for text in said_by(chat, role)]
            if counts and min(counts) < least:
                return f"{name} is too short"
            if counts and max(counts) > most:
                return f"{name} is too long"
        return None
