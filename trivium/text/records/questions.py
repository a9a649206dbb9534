"""The question of a row: the turns that stand before an answer, whatever the field is called."""

from collections.abc import Sequence

from trivium.core.types import Message
from trivium.text.records import choices
from trivium.text.records.tools import with_tools
from trivium.text.records.turns import alternating, chat_field, messages
from trivium.text.rows import Row

_PLAIN = ("question", "query", "input", "inputs", "history", "Question")
_CONTEXTS = {"question": "context", "Question": "Body"}
_WHOLE = ("prompt", "instruction", "messages", "turns")
_SYSTEM = ("system", "system_prompt")
Turns = tuple[Message, ...]


def question(row: Row, *, wanted: str = "'prompt'") -> tuple[Turns, tuple[str, ...]]:
    """The turns before the answer, and the fields they came from.

    prompt (text or messages) | instruction + input or context | messages | conversations, conversation | turns (MT-bench; the first,
    as the others need its answer) | question (after its context, if it has one), query, input, inputs (FLAN), history (SHP), Question
    (TruthfulQA; SVAMP's after its Body, with a space) | text with test_list (see `_task`). Choices are shown below it (see `choices`).
    A text in `system` or `system_prompt` becomes the first turn.
    wanted: what the error calls the field when there is none.
    """
    values = row.values
    if is_task(row):
        return with_system(row, *_task(row))
    if "prompt" in values:
        stated = messages(row, values["prompt"], "prompt") if isinstance(values["prompt"], list) else _user(row.text("prompt"))
        return with_system(row, stated, ("prompt",))
    if "instruction" in values:
        text, used = instruction(row)
        return with_system(row, _user(text), used)
    if "messages" in values:
        return with_system(row, messages(row, values["messages"], "messages"), ("messages",))
    if chat := chat_field(row):
        return with_system(row, alternating(row, chat), (chat,))
    if "turns" in values:
        return with_system(row, _user(_first_turn(row)), ("turns",))
    if field := next((field for field in _PLAIN if field in values), None):
        return with_system(row, *_plain(row, field))
    if "question_id" in values:
        row.fail("names its question by 'question_id' only; put the question of that number into a field 'prompt'")
    return row.missing(wanted)


def has_question(row: Row) -> bool:
    """Whether `question` finds a field to read."""
    return any(field in row.values for field in (*_WHOLE, *_PLAIN)) or chat_field(row) is not None or is_task(row)


def shows_choices(row: Row) -> bool:
    """Whether `question` shows choices below it: other fields than a plain question have a layout of their own."""
    return choices.has_choices(row) and chat_field(row) is None and not any(field in row.values for field in _WHOLE)


def is_task(row: Row) -> bool:
    """Whether the row asks for a program and has its tests (MBPP)."""
    return "test_list" in row.values and ("text" in row.values or "prompt" in row.values)


def instruction(row: Row) -> tuple[str, tuple[str, ...]]:
    """The question of Alpaca and Dolly: the instruction, and below it the input or context if there is one."""
    extra = next((field for field in ("input", "context") if row.values.get(field)), None)
    return with_input(row.text("instruction"), row.text(extra) if extra else ""), ("instruction", "input", "context")


def with_input(stated: str, text: str) -> str:
    """An instruction and what it is about."""
    return f"{stated}\n\n{text}" if text else stated


def with_system(row: Row, turns: Turns, used: Sequence[str]) -> tuple[Turns, tuple[str, ...]]:
    """The turns after the system turn that the row states beside them, unless they have one; with the tools that it may call."""
    field = next((field for field in _SYSTEM if row.values.get(field)), None)
    if field is None or turns[0].role == "system":
        return with_tools(row, turns), tuple(used)
    return with_tools(row, (Message("system", row.text(field)), *turns)), (*used, field)


def _plain(row: Row, field: str) -> tuple[Turns, tuple[str, ...]]:
    text, context = row.text(field), _CONTEXTS.get(field, "")
    has_context = bool(row.values.get(context))
    if has_context:
        text = f"{row.text(context).strip()} {text}" if context == "Body" else with_input(row.text(context), text)
    shown = choices.shown(row, text) if choices.has_choices(row) else text
    return _user(shown), (field, context) if has_context else (field,)


def _task(row: Row) -> tuple[Turns, tuple[str, ...]]:
    """The task and its tests, without which the names in them are not known; in the words of Austin et al. 2021, arXiv:2108.07732.

    Difference: "You are an expert Python programmer" does not come before it. The tests stay in `meta`.
    """
    field, tests = "prompt" if "prompt" in row.values else "text", row.filled("test_list", "a list of tests")
    shown = "\n".join(row.check_text(test, f"test_list[{index}]") for index, test in enumerate(tests))
    return _user(f"{row.text(field)} Your code should pass these tests:\n\n{shown}"), (field,)


def _user(text: str) -> Turns:
    return (Message("user", text),)


def _first_turn(row: Row) -> str:
    return row.check_text(row.filled("turns", "a list of texts")[0], "turns[0]")
