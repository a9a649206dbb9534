"""Rows to single answers that were found good or bad (KTO: Ethayarajh et al. 2024, arXiv:2402.01306)."""

from trivium.core.types import Message
from trivium.text.records.conversation import conversations
from trivium.text.records.preference import is_preference
from trivium.text.rows import Row

Labelled = tuple[tuple[Message, ...], str, bool]  # the turns before the answer, the answer, whether it is good


def is_labelled(row: Row) -> bool:
    """Whether the row judges one answer: a `label`, whatever its value, beside a conversation."""
    return "label" in row.values and not {"chosen", "rejected", "responses"} & set(row.values) and not is_preference(row)


def labels(row: Row) -> list[Labelled]:
    """The last answer of a conversation, with its `label`."""
    if "label" not in row.values:
        row.missing("'label'")
    if not isinstance(row.values["label"], bool):
        row.fail(f"'label' is {str(row.values['label'])[:40]!r}; true or false is expected: whether the answer is good")
    [*before, last] = conversations(row)[0].messages
    if last.role != "assistant" or not before:
        row.fail("must end with an answer to something, which 'label' judges")
    return [(tuple(before), last.content, row.values["label"])]
