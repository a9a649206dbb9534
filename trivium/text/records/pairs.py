"""Chosen and rejected: two answers, or several on each side, to one prompt."""

from typing import Any

from trivium.core.types import Message, Preference
from trivium.text.records.hh import is_transcript, parse_pair
from trivium.text.records.questions import has_question, question
from trivium.text.records.ranks import ranked
from trivium.text.records.turns import message, messages
from trivium.text.rows import Row

_SIDES = (("chosen", "rejected"), ("chosen_messages", "rejected_messages"))


def is_pair(row: Row) -> bool:
    """Whether the row has both sides."""
    return any(field in row.values and other in row.values for field, other in _SIDES)


def pair(row: Row) -> Preference:
    """The preference of a row with `chosen` and `rejected`, or `chosen_messages` and `rejected_messages`.

    A side is a text, a message ({role, content} or {from, value}), a list of messages that ends with the answer and may begin with the
    prompt (UltraFeedback binarised), a transcript (hh-rlhf), or a list of texts: then all that were chosen tie, and all that were rejected
    tie below them. So three and three (RM-Bench: Liu et al. 2024, arXiv:2410.16184) give the nine pairs of its matrix, in which the
    styles of both sides meet each other; the answers stand in the order of their styles.
    """
    fields = next((sides for sides in _SIDES if sides[0] in row.values), _SIDES[0])
    chosen, rejected = (row.values.get(field) for field in fields)
    if not has_question(row) and isinstance(chosen, str) and isinstance(rejected, str) and is_transcript(chosen):
        prompt, responses = parse_pair(row)
        return ranked(prompt, responses, (0, 1), row.rest(*fields))
    if _is_several(chosen) or _is_several(rejected):
        return _several(row, fields)
    turns, other = (_answer(row, field) for field in fields)
    if {turns[-1].role, other[-1].role} != {"assistant"}:
        row.fail(f"'{fields[0]}' and '{fields[1]}' must end with the assistant")
    if turns[:-1] != other[:-1]:
        row.fail(f"'{fields[0]}' and '{fields[1]}' must differ only in their last turn")
    prompt, used = question(row) if has_question(row) or len(turns) == 1 else ((), ())
    return ranked(_joined(prompt, turns[:-1]), (turns[-1].content, other[-1].content), (0, 1), row.rest(*used, *fields))


def _is_several(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def _several(row: Row, fields: tuple[str, str]) -> Preference:
    sides = []
    for field in fields:
        value = row.values.get(field)
        if not isinstance(value, list) or not value:
            row.fail(f"'{field}' must be a list of texts, as the other side is")
        sides.append([row.check_text(item, f"{field}[{index}]") for index, item in enumerate(value)])
    prompt, used = question(row)
    ranks = [rank for rank, side in enumerate(sides) for _ in side]
    return ranked(prompt, sides[0] + sides[1], ranks, row.rest(*used, *fields))


def _answer(row: Row, field: str) -> tuple[Message, ...]:
    value = row.values.get(field)
    if isinstance(value, list):
        return messages(row, value, field)
    return (message(row, value, field) if isinstance(value, dict) else Message("assistant", row.text(field)),)


def _joined(stated: tuple[Message, ...], before: tuple[Message, ...]) -> tuple[Message, ...]:
    """The prompt: stated on its own, or repeated at either end of what comes before the answers, or going before it."""
    is_repeated = stated in (before[: len(stated)], before[len(before) - len(stated) :])
    return before if is_repeated else stated + before
