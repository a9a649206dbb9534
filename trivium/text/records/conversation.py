"""Rows to conversations: the shapes of demonstrations, of which a tree or a task with several instances gives many.

A row with one answer and a judgement of it (KTO: Ethayarajh et al. 2024, arXiv:2402.01306; `label` true or false) is a conversation
with the label in `meta`. One that was judged bad has weight 0, so that nothing learns to imitate it, unless the row states a weight.
"""

import math
from typing import Literal

from trivium.core.types import Conversation, Message
from trivium.text.few_shot import few_shot
from trivium.text.records import pairs, trees
from trivium.text.records.questions import question, with_input, with_system
from trivium.text.records.turns import alternating, messages
from trivium.text.rows import Row, type_name

Replies = Literal["best", "all"]
_ANSWERS = ("output", "response", "completion", "answer", "target", "targets")


def conversations(row: Row, replies: Replies = "best") -> list[Conversation]:
    """The conversations of a row.

    messages | conversations (ShareGPT) | a question (see `question`) with output (Alpaca), response (Dolly), completion, answer
    (with `rationale`: FLAN's chains of thought), target or targets | instruction + instances (Self-Instruct; one each) |
    instruction + pairs (InstructGPT's few-shot prompts; one each) | a tree of OpenAssistant (replies: see `trees.conversations`).
    """
    weight = _weight(row)
    if trees.is_tree(row):
        return [Conversation(turns, weight, meta) for turns, meta in trees.conversations(row, replies)]
    if "instances" in row.values:
        found, used = [_demonstration(asked, answer) for asked, answer in instances(row)], ("instruction", "instances")
    elif "pairs" in row.values:
        found, used = few_shot(row.text("instruction"), _query_pairs(row)), ("instruction", "pairs")
    else:
        turns, used = _turns(row)
        if all(message.role != "assistant" for message in turns):
            row.fail("has no turn of the assistant, so there is nothing to learn from it")
        found = [turns]
    return [Conversation(turns, weight, row.rest("weight", *used)) for turns in found]


def instances(row: Row) -> list[tuple[str, str]]:
    """Question and answer of each instance of a Self-Instruct task (Wang et al. 2022, arXiv:2212.10560): {input, output}."""
    stated = row.text("instruction")
    found = _texts(row, "instances", ("input", "output"))
    return [(with_input(stated, text), answer) for text, answer in found]


def _weight(row: Row) -> float:
    stated = row.values.get("weight")
    if stated is None:
        is_judged = "messages" in row.values or "conversations" in row.values or "completion" in row.values
        return 0.0 if is_judged and row.values.get("label") is False else 1.0
    if isinstance(stated, bool) or not isinstance(stated, (int, float)) or not math.isfinite(stated) or stated < 0:
        row.fail(f"'weight' is {stated!r}; a number of at least 0 is expected")
    return float(stated)


def _turns(row: Row) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """The turns of a conversation and the fields they came from."""
    values = row.values
    if "messages" in values:
        return with_system(row, messages(row, values["messages"], "messages"), ("messages",))
    if "conversations" in values:
        if pairs.is_pair(row):
            row.fail("is a preference ('chosen' and 'rejected'), which states no answer to learn")
        return with_system(row, _answered(row, alternating(row, "conversations")), ("conversations",))
    asked, used = question(row, wanted="'messages'")
    answer = next((field for field in _ANSWERS if field in values and field not in used), None)
    if answer is None:
        row.missing("'output' or 'response'" if "instruction" in values else "'response' or 'completion'")
    if isinstance(values[answer], list):
        return (*asked, *messages(row, values[answer], answer)), (*used, answer)
    return (*asked, Message("assistant", _reasoned(row, answer))), (*used, answer, "rationale")


def _answered(row: Row, turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """Without the last question if it has no answer."""
    last = max((index for index, turn in enumerate(turns) if turn.role == "assistant"), default=None)
    return turns[: last + 1] if last is not None else row.fail("'conversations' has no answer")


def _reasoned(row: Row, field: str) -> str:
    """The answer, after its rationale if it has one, in the words of the chains of thought of Chung et al. 2022, arXiv:2210.11416."""
    answer = row.text(field)
    return f"{row.text('rationale')}\nSo the answer is {answer}." if field == "answer" and row.values.get("rationale") else answer


def _demonstration(asked: str, answer: str) -> tuple[Message, ...]:
    return (Message("user", asked), Message("assistant", answer))


def _query_pairs(row: Row) -> list[tuple[str, str]]:
    return _texts(row, "pairs", ("query", "response"))


def _texts(row: Row, field: str, names: tuple[str, str]) -> list[tuple[str, str]]:
    """Two texts of each object of a list with at least one."""
    value = row.values[field]
    if not isinstance(value, list) or not value:
        row.fail(f"'{field}' is {type_name(value) if value else 'empty'}; a list of objects with {names[0]} and {names[1]} is expected")
    found = []
    for index, item in enumerate(value):
        if not isinstance(item, dict) or any(name not in item for name in names):
            row.fail(f"'{field}[{index}]' is {type_name(item)} without {names[0]} or {names[1]}")
        first, second = (row.check_text(item[name], f"{field}[{index}].{name}") for name in names)
        found.append((first, second))
    return found
