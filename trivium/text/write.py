"""Records to files: one JSON object a line, compressed when the name ends in .zst."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import zstandard


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows to `path` (.jsonl or .jsonl.zst) and return how many; the caller commits the folder it is in."""
    count = 0
    with path.open("wb") as file:
        out = zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False) if path.suffix == ".zst" else file
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False, default=str).encode() + b"\n")
            count += 1
        if out is not file:
            out.close()
    return count
