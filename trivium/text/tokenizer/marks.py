"""The mark that SentencePiece-like tokenizers put before a text, which text that goes on must not get a second time.

Such a tokenizer reads "hello" as "▁hello". A conversation is encoded piece by piece (text/chat.py), so each piece has to say what stands
before it, or its ids are not those of the whole.
"""

import json
from typing import Any, Literal

Before = Literal["nothing", "control", "text"]  # what stands before a piece in the ids: it begins them, follows a control id, or goes on

_NEVER = {"Metaspace": ("prepend_scheme", "never"), "ByteLevel": ("add_prefix_space", False)}
_INNER = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers"}  # under which name a sequence of them has its parts


def unmarked(content: str) -> tuple[str | None, bool]:
    """tokenizer.json without marks, None if there are none; and whether only a text that begins everything gets one."""
    found, marks = json.loads(content), list[dict[str, Any]]()
    for key in _INNER:
        found[key] = _without(found.get(key), _INNER[key], marks)
    return json.dumps(found) if marks else None, bool(marks) and all(mark.get("prepend_scheme") == "first" for mark in marks)


def _without(part: dict[str, Any] | None, inner: str, marks: list[dict[str, Any]]) -> dict[str, Any] | None:
    """A part without what makes marks, which is added to `marks`."""
    if part is None:
        return None
    if inner in part:
        return part | {inner: [kept for each in part[inner] if (kept := _without(each, inner, marks)) is not None]}
    if part["type"] == "Prepend":
        marks.append(part)
        return None
    name, never = _NEVER.get(part["type"], ("", None))
    if not name or part.get(name, never) == never:
        return part
    marks.append(part)
    return part | {name: never}
