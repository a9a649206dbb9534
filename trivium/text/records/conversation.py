"""Rows to conversations: the shapes of demonstrations, of which a tree or a task with several instances gives many.

A row with one answer and a judgement of it (KTO: Ethayarajh et al. 2024, arXiv:2402.01306; `label` true or false) is a conversation
with the label in `meta`. One that was judged bad has weight 0, so that nothing learns to imitate it, unless the row states a weight.
"""

from typing import Literal

from trivium.core.types import Conversation, Message
from trivium.text.few_shot import few_shot
from trivium.text.records import choices, pairs, trees
from trivium.text.records.questions import is_task, question, shows_choices, with_input, with_system
from trivium.text.records.ranks import is_number
from trivium.text.records.turns import alternating, chat_field, messages
from trivium.text.rows import Row, type_name

Replies = Literal["best", "all"]
_ANSWERS = ("output", "response", "completion", "answer", "target", "targets", "Answer", "Best Answer")


def conversations(row: Row, replies: Replies = "best") -> list[Conversation]:
    """The conversations of a row.

    messages | conversations (ShareGPT), conversation (WildChat) | a question (see `question`) with output (Alpaca), response (Dolly),
    completion, answer (with `rationale`: FLAN's chains of thought; a number or a list of right answers too, of which the first is
    taken), target or targets, Answer (SVAMP), Best Answer (TruthfulQA), code (MBPP) | a question with choices, answered by the right one |
    the tasks of `demonstrations` | a tree of OpenAssistant (replies: see `trees.conversations`).
    """
    weight = _weight(row)
    if trees.is_tree(row):
        return [Conversation(turns, weight, meta) for turns, meta in trees.conversations(row, replies)]
    if several := demonstrations(row):
        return [Conversation(turns, weight, row.rest("weight", "instruction", "instances", "pairs")) for turns in several]
    turns, used = _turns(row)
    if all(message.role != "assistant" for message in turns):
        row.fail("has no turn of the assistant, so there is nothing to learn from it")
    return [Conversation(turns, weight, row.rest("weight", *used))]


def demonstrations(row: Row) -> list[tuple[Message, ...]]:
    """Question and answer for each part of a task; nothing if the row is none.

    instruction + instances: {input, output} each (Self-Instruct: Wang et al. 2022, arXiv:2212.10560).
    instruction + pairs: {query, response} each, the others are examples (see `few_shot`).
    """
    if "instruction" not in row.values:
        return []
    if "instances" in row.values:
        stated, found = row.text("instruction"), _texts(row, "instances", ("input", "output"))
        return [(Message("user", with_input(stated, text)), Message("assistant", answer)) for text, answer in found]
    return few_shot(row.text("instruction"), _texts(row, "pairs", ("query", "response"))) if "pairs" in row.values else []


def _weight(row: Row) -> float:
    stated = row.values.get("weight")
    if stated is None:
        is_judged = "messages" in row.values or "completion" in row.values or chat_field(row) is not None
        return 0.0 if is_judged and row.values.get("label") is False else 1.0
    if not is_number(stated) or stated < 0:
        row.fail(f"'weight' is {stated!r}; a number of at least 0 is expected")
    return float(stated)


def _turns(row: Row) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """The turns of a conversation and the fields they came from."""
    values = row.values
    if "messages" in values:
        return with_system(row, messages(row, values["messages"], "messages"), ("messages",))
    if chat := chat_field(row):
        if pairs.is_pair(row):
            row.fail("is a preference ('chosen' and 'rejected'), which states no answer to learn")
        return with_system(row, _answered(row, chat), (chat,))
    asked, used = question(row, wanted="'messages'")
    if shows_choices(row):
        return (*asked, Message("assistant", choices.right(row))), used
    names = ("code",) if is_task(row) else _ANSWERS
    answer = next((field for field in names if field in values and field not in used), None)
    if answer is None:
        row.missing("'output' or 'response'" if "instruction" in values else "'response' or 'completion'")
    stated = values[answer]
    if isinstance(stated, list) and stated and all(isinstance(one, str) for one in stated):  # all of them are right, so they stay in meta
        return (*asked, Message("assistant", row.check_text(stated[0], f"{answer}[0]"))), used
    if isinstance(stated, list):
        return (*asked, *messages(row, stated, answer)), (*used, answer)
    if answer.lower() == "answer" and is_number(stated):
        return (*asked, Message("assistant", _written(stated))), (*used, answer)
    reason = ("rationale",) if answer == "answer" and values.get("rationale") else ()
    # in the words of the chains of thought of Chung et al. 2022, arXiv:2210.11416
    said = f"{row.text('rationale')}\nSo the answer is {row.text(answer)}." if reason else row.text(answer)
    return (*asked, Message("assistant", said)), (*used, answer, *reason)


def _answered(row: Row, field: str) -> tuple[Message, ...]:
    """The turns of a logged chat without the last question, if it has no answer."""
    turns = alternating(row, field)
    last = max((index for index, turn in enumerate(turns) if turn.role == "assistant"), default=None)
    return turns[: last + 1] if last is not None else row.fail(f"'{field}' has no answer")


def _written(number: float) -> str:
    """A number as people write it: 51.0 is 51."""
    return str(int(number) if number == int(number) else number)


def _texts(row: Row, field: str, names: tuple[str, str]) -> list[tuple[str, str]]:
    """Two texts of each object of a list with at least one."""
    found = []
    for index, item in enumerate(row.filled(field, f"a list of objects with {names[0]} and {names[1]}")):
        if not isinstance(item, dict) or any(name not in item for name in names):
            row.fail(f"'{field}[{index}]' is {type_name(item)} without {names[0]} or {names[1]}")
        first, second = (row.check_text(item[name], f"{field}[{index}].{name}") for name in names)
        found.append((first, second))
    return found
