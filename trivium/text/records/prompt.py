"""Rows to prompts: turns that wait for an answer, of any record that has them."""

from trivium.core.types import Message
from trivium.text.records import trees
from trivium.text.records.conversation import demonstrations
from trivium.text.records.preference import is_preference, preferences
from trivium.text.records.questions import has_question, question
from trivium.text.rows import Row


def prompts(row: Row) -> list[tuple[Message, ...]]:
    """The turns before the answer, of a question or a conversation (its last answers are left out) or a preference.

    One for each part of a task (see `demonstrations`); of a tree its root.
    """
    if trees.is_tree(row):
        return trees.prompts(row)
    if several := demonstrations(row):
        return [turns[:-1] for turns in several]
    if not has_question(row) and is_preference(row):
        return [preference.prompt for preference in preferences(row)]
    turns = list(question(row)[0])
    while turns and turns[-1].role == "assistant":
        turns.pop()
    return [tuple(turns) or row.fail("has no turn before the answer")]
