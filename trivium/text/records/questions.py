"""The question of a row: the turns that stand before an answer, whatever the field is called."""

from collections.abc import Sequence

from trivium.core.types import Message
from trivium.text.records.turns import alternating, chat_field, messages
from trivium.text.rows import Row, type_name

_PLAIN = ("question", "query", "input", "inputs", "history")
_SYSTEM = ("system", "system_prompt")
Turns = tuple[Message, ...]


def question(row: Row, *, wanted: str = "'prompt'") -> tuple[Turns, tuple[str, ...]]:
    """The turns before the answer, and the fields they came from.

    prompt (text or messages) | instruction + input or context | messages | conversations, conversation | turns (MT-bench; the first,
    as the others need its answer) | question (after its context, if it has one), query, input, inputs (FLAN), history (SHP). A text in
    `system` or `system_prompt` becomes the first turn.
    wanted: what the error calls the field when there is none.
    """
    values = row.values
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
    field = next((field for field in _PLAIN if field in values), None)
    return with_system(row, *_plain(row, field)) if field else row.missing(wanted)


def has_question(row: Row) -> bool:
    """Whether `question` finds a field to read."""
    return any(field in row.values for field in ("prompt", "instruction", "messages", "turns", *_PLAIN)) or chat_field(row) is not None


def instruction(row: Row) -> tuple[str, tuple[str, ...]]:
    """The question of Alpaca and Dolly: the instruction, and below it the input or context if there is one."""
    extra = next((field for field in ("input", "context") if row.values.get(field)), None)
    return with_input(row.text("instruction"), row.text(extra) if extra else ""), ("instruction", "input", "context")


def with_input(stated: str, text: str) -> str:
    """An instruction and what it is about."""
    return f"{stated}\n\n{text}" if text else stated


def with_system(row: Row, turns: Turns, used: Sequence[str]) -> tuple[Turns, tuple[str, ...]]:
    """The turns after the system turn that the row states beside them, unless they have one."""
    field = next((field for field in _SYSTEM if row.values.get(field)), None)
    if field is None or turns[0].role == "system":
        return turns, tuple(used)
    return (Message("system", row.text(field)), *turns), (*used, field)


def _plain(row: Row, field: str) -> tuple[Turns, tuple[str, ...]]:
    if "choices" in row.values:
        row.fail(f"'{field}' has 'choices', which the prompt would not show; write the prompt that shows them into a field 'prompt'")
    if field == "question" and row.values.get("context"):
        return _user(with_input(row.text("context"), row.text(field))), (field, "context")
    return _user(row.text(field)), (field,)


def _user(text: str) -> Turns:
    return (Message("user", text),)


def _first_turn(row: Row) -> str:
    value = row.values["turns"]
    if not isinstance(value, list) or not value:
        row.fail(f"'turns' is {type_name(value) if value else 'empty'}; a list of texts is expected")
    return row.check_text(value[0], "turns[0]")
