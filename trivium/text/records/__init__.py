"""What a row means: the record shapes that data sets use, told apart by their fields. A field we do not know is kept in `meta`."""

from trivium.text.records.conversation import Replies, conversations
from trivium.text.records.documents import definition, document
from trivium.text.records.preference import preferences
from trivium.text.records.prompt import prompts
from trivium.text.records.trees import joined, runs

__all__ = ["Replies", "conversations", "definition", "document", "joined", "preferences", "prompts", "runs"]
