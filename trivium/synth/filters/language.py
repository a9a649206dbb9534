"""Language: keeps conversations that are in one of the wanted languages."""

from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Conversation, Document
from trivium.synth.filters.rule import said_by
from trivium.text.filters.language import Language as OfDocuments
from trivium.text.judge import reason_of

MIN_CONFIDENCE = 0.3  # lower than in cleaning, as queries are short


@component
class Language:
    """All queries together, and all answers together, in one of the languages, by the identification that cleaning uses.

    Raises ConfigError if the package is not there.
    """

    kind: Literal["language"] = "language"
    languages: tuple[str, ...] = Field(default=("en",), min_length=1)

    def __post_init__(self) -> None:
        self._of_documents()

    def why(self, chat: Conversation) -> str | None:
        """The reason to drop a conversation, or None."""
        for role, name in (("user", "query"), ("assistant", "answer")):
            text = "\n".join(said_by(chat, role))
            if text.strip() and (reason := reason_of(self._of_documents(), Document(text))):
                return f"{name}: {reason}"
        return None

    def _of_documents(self) -> OfDocuments:
        return OfDocuments(languages=self.languages, min_confidence=MIN_CONFIDENCE)
