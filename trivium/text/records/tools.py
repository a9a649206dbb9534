"""The tools that a row says may be called, told to the model in the system turn, in the words that Hermes and Qwen 2.5 models know.

So they are read wherever a chat format has a system turn. Left out: the words of other families (Llama 3.1 and Mistral write calls in
forms of their own); a model of theirs learns these instead.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from trivium.core.types import Message
from trivium.text.rows import Row

_BEFORE = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
_AFTER = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n"
    '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)


def with_tools(row: Row, turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """The turns with the row's `tools` at the end of their system turn, or in one of their own; as they are if the row has none.

    tools: a list of objects with `function` or `name`, or such a list as JSON; anything else is not a list of tools, and is left alone.
    """
    tools = _tools(row.values.get("tools"))
    if not tools:
        return turns
    text = _BEFORE + "".join(f"\n{json.dumps(tool, ensure_ascii=False)}" for tool in tools) + _AFTER
    if turns[0].role == "system":
        return (Message("system", f"{turns[0].content}\n\n{text}"), *turns[1:])
    return (Message("system", text), *turns)


def _tools(value: Any) -> Sequence[Mapping[str, Any]]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return ()
    is_list = isinstance(value, list) and all(isinstance(one, Mapping) and ("function" in one or "name" in one) for one in value)
    return value if is_list else ()
