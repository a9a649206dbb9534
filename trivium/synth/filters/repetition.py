"""Repetition: drops conversations in which a turn says the same again and again."""

from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Conversation
from trivium.score.rewards.repetition import repeated_share

N = 3  # words


@component
class Repetition:
    """The share of a turn's runs of three words that were there before; an answer in a loop is near 1, prose below 0.1."""

    kind: Literal["repetition"] = "repetition"
    max_share: float = Field(default=0.3, ge=0, le=1)

    def why(self, chat: Conversation) -> str | None:
        """The reason to drop a conversation, or None."""
        for message in chat.messages:
            if repeated_share(message.content, N) > self.max_share:
                return f"{'query' if message.role == 'user' else 'answer'} repeats itself"
        return None
