r"""Transcripts of hh-rlhf: one string a side, turns marked "\n\nHuman: " and "\n\nAssistant: ".

Bai et al. 2022, arXiv:2204.05862. The prompt is what both sides have in common; the answers are their last turns.
"""

import re
from itertools import groupby

from trivium.core.types import Message
from trivium.text.rows import Row

_MARKER = re.compile(r"\n\n(Human|Assistant):(?: |$|(?=\n))")


def is_transcript(text: str) -> bool:
    """Whether the text begins with the human's marker."""
    return text.startswith("\n\nHuman:")


def parse_transcript(text: str) -> list[Message]:
    """The turns of a transcript; neighbouring turns of one speaker, which some rows have, are joined."""
    pieces = _MARKER.split(text)[1:]
    turns = [Message("user" if name == "Human" else "assistant", said) for name, said in zip(pieces[::2], pieces[1::2], strict=True)]
    joined = [(role, list(run)) for role, run in groupby(turns, key=lambda turn: turn.role)]
    return [Message(role, "\n\n".join(turn.content for turn in run)) for role, run in joined]


def parse_pair(row: Row) -> tuple[tuple[Message, ...], tuple[str, str]]:
    """Prompt and the two answers. Raises DataError when the sides differ earlier than in their last turn."""
    chosen, rejected = parse_transcript(row.text("chosen")), parse_transcript(row.text("rejected"))
    *before, answer = chosen
    *before_rejected, answer_rejected = rejected or chosen
    if not before or before != before_rejected or {answer.role, answer_rejected.role} != {"assistant"}:
        row.fail("'chosen' and 'rejected' must be one transcript that ends in two answers of the assistant")
    return tuple(before), (answer.content, answer_rejected.content)
