"""Records to files: one JSON object a line, compressed when the name ends in .zst."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import zstandard

from trivium.core.types import Message


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows to `path` (.jsonl or .jsonl.zst) and return how many; the caller commits the folder it is in."""
    count = 0
    with path.open("wb") as file:
        out = zstandard.ZstdCompressor(level=3, write_checksum=True).stream_writer(file, closefd=False) if path.suffix == ".zst" else file
        for row in rows:
            out.write(json_line(row))
            count += 1
        if out is not file:
            out.close()
    return count


def plain_turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Turns as a row has them; a weight only where it is not 1."""
    return [{"role": turn.role, "content": turn.content, **({} if turn.weight == 1 else {"weight": turn.weight})} for turn in messages]


def json_line(row: Mapping[str, Any]) -> bytes:
    """A row as a line that our own reader takes: what JSON has no form for becomes text, a number that is not finite becomes null."""
    try:
        return json.dumps(row, ensure_ascii=False, default=str, allow_nan=False).encode() + b"\n"
    except ValueError:  # not finite, or half of a surrogate pair in a field beside the text, which is written as an escape
        return json.dumps(_finite(row), default=str).encode() + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
