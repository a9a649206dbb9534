"""Valid: drops conversations in which the user asks for nothing."""

from typing import Literal

from trivium.core.config import component
from trivium.core.types import Conversation
from trivium.synth.filters.rule import said_by
from trivium.synth.instruction import why_no_instruction


@component
class Valid:
    """Every turn of the user must be an instruction by the rules of synth/instruction.py; the first that is none gives the reason."""

    kind: Literal["valid"] = "valid"

    def why(self, chat: Conversation) -> str | None:
        """The reason to drop a conversation, or None."""
        queries = said_by(chat, "user")
        return next(filter(None, map(why_no_instruction, queries)), None) if queries else "nobody asks"
