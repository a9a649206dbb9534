"""Turns: lists of messages as data sets spell them, role and content or from and value, with content that may come in parts.

Calls of tools and reasoning become text between the tags that Hermes, Qwen and DeepSeek models use, because a Message has only
text; the tools themselves (`tools`) become part of the system turn (tools.py). The `weight` of a single message (OpenAI) is kept.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, get_args

from trivium.core.types import Message, Role
from trivium.text.records.ranks import is_number
from trivium.text.rows import Row, type_name


class _Spelling(NamedTuple):
    """How a list of messages names its fields and roles."""

    role: str
    text: str
    roles: Mapping[str, Role]


_OPENAI = _Spelling("role", "content", {role: role for role in get_args(Role)})
_SHAREGPT = _Spelling(
    "from",
    "value",
    {
        "human": "user",
        "user": "user",
        "gpt": "assistant",
        "chatgpt": "assistant",
        "assistant": "assistant",
        "function_call": "assistant",
        "system": "system",
        "tool": "tool",
        "function": "tool",
        "observation": "tool",
    },
)
_TAGS: dict[str, Callable[[str], str]] = {
    "text": lambda text: text,
    "reasoning": lambda text: f"<think>\n{text}\n</think>\n\n",
    "tool_call": lambda text: f"<tool_call>\n{text}\n</tool_call>",
}


def messages(row: Row, value: Any, field: str) -> tuple[Message, ...]:
    """A list of {role, content} or, where the first has a `from`, of {from, value}."""
    if not isinstance(value, list):
        row.fail(f"'{field}' is {type_name(value)}; a list of messages is expected")
    if not value:
        row.fail(f"'{field}' is an empty list")
    return tuple(message(row, item, f"{field}[{index}]", _spelling(value[0])) for index, item in enumerate(value))


def message(row: Row, item: Any, name: str, spelling: _Spelling | None = None) -> Message:
    """One message, in the spelling of its list or its own."""
    role_field, text_field, roles = spelling or _spelling(item)
    if not isinstance(item, Mapping):
        row.fail(f"'{name}' is {type_name(item)}; an object with {role_field} and {text_field} is expected")
    for field in (role_field, text_field):
        if field not in item:
            row.fail(f"'{name}.{field}' is missing (found: {', '.join(item) or 'nothing'})")
    role = item[role_field]
    if not isinstance(role, str) or role not in roles:
        row.fail(f"'{name}.{role_field}' is {role!r}; it is one of: {', '.join(roles)}")
    calls = _calls(row, item, name)
    content = "" if calls and item[text_field] is None else _content(row, item[text_field], f"{name}.{text_field}")
    said = _TAGS["tool_call"](content) if role == "function_call" else content
    return Message(roles[role], said + ("\n" if said and calls else "") + calls, _weight(row, item, name))


def chat_field(row: Row) -> str | None:
    """The field of a logged chat: `conversations` (ShareGPT) or `conversation` (WildChat, LMSYS-Chat)."""
    return next((field for field in ("conversations", "conversation") if field in row.values), None)


def alternating(row: Row, field: str) -> tuple[Message, ...]:
    """The turns of a logged chat: the user begins (after a system turn) and the two alternate; the last may be a question."""
    value = row.filled(field, "a list of turns")
    spelling = _OPENAI if isinstance(value[0], Mapping) and "role" in value[0] else _SHAREGPT
    turns = tuple(message(row, item, f"{field}[{index}]", spelling) for index, item in enumerate(value))
    spoken = [turn.role for turn in turns if turn.role in ("user", "assistant")]
    if spoken[:1] != ["user"]:
        row.fail(f"'{field}' must begin with the user")
    has_tools = any(turn.role == "tool" for turn in turns)  # between tool results the assistant speaks twice
    if not has_tools and any(first == second for first, second in zip(spoken, spoken[1:], strict=False)):
        row.fail(f"in '{field}' the user and the assistant must alternate")
    return turns


def _weight(row: Row, item: Mapping[str, Any], name: str) -> float:
    """How much a message counts: OpenAI's `weight`, 1 if it states none."""
    stated = item.get("weight")
    if stated is None:
        return 1.0
    if not is_number(stated) or stated < 0:
        row.fail(f"'{name}.weight' is {stated!r}; a number of at least 0 is expected")
    return float(stated)


def _spelling(first: Any) -> _Spelling:
    return _SHAREGPT if isinstance(first, Mapping) and "from" in first and "role" not in first else _OPENAI


def _calls(row: Row, item: Mapping[str, Any], name: str) -> str:
    """OpenAI's `tool_calls` of a message, [{function: {name, arguments}}], as text."""
    calls = item.get("tool_calls") or []
    if not isinstance(calls, list):
        row.fail(f"'{name}.tool_calls' is {type_name(calls)}; a list of calls is expected")
    texts = []
    for index, call in enumerate(calls):
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            row.fail(f"'{name}.tool_calls[{index}]' has no object `function` with name and arguments")
        arguments = function.get("arguments", {})
        shown = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        called = row.check_text(function.get("name"), f"{name}.tool_calls[{index}].function.name")
        texts.append(_TAGS["tool_call"](f'{{"name": {json.dumps(called, ensure_ascii=False)}, "arguments": {shown}}}'))
    return "\n".join(texts)


def _content(row: Row, value: Any, name: str) -> str:
    """A text, or a list of parts {type, text or value}, joined as they are."""
    if not isinstance(value, list):
        return row.check_text(value, name)
    return "".join(_part(row, part, f"{name}[{index}]") for index, part in enumerate(value))


def _part(row: Row, part: Any, name: str) -> str:
    if not isinstance(part, Mapping):
        row.fail(f"'{name}' is {type_name(part)}; an object with type and text is expected")
    kind = part.get("type")
    if not isinstance(kind, str) or kind not in _TAGS:
        row.fail(f"'{name}.type' is {kind!r}; only text can be read, that is one of: {', '.join(_TAGS)}")
    field = next((field for field in ("text", "value") if part.get(field) is not None), None)
    if field is None:
        row.fail(f"'{name}.text' is missing (found: {', '.join(part)})")
    value = part[field]
    if kind == "tool_call" and isinstance(value, Mapping):
        value = json.dumps(value, ensure_ascii=False)
    return _TAGS[kind](row.check_text(value, f"{name}.{field}"))
