"""Votes of people on pairs of answers: a line of votes.jsonl each, which `rank`, `route` and `matches` read, and `prefer` and `reward`."""

import errno
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trivium.core.commit import disk_errors, make_folder
from trivium.core.errors import ConfigError, DataError
from trivium.core.types import Match
from trivium.text.read import read_matches
from trivium.text.records.matches import plain_match

FILE = "votes.jsonl"


class Votes:
    """The file that they go to, below a folder; it only grows."""

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder}: is a file; votes go into a folder")
        make_folder(folder)
        self.path, self._lock = folder / FILE, threading.Lock()
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_file()):
            raise ConfigError(f"{self.path}: is no plain file, so votes cannot be written to it")

    def given(self) -> Iterator[Match]:
        """Those that are there. Raises DataError for a line that is none."""
        if has_lines(self.path):
            yield from read_matches(self.path)

    def add(self, match: Match) -> None:
        """Append a line, as `append` does."""
        with self._lock:
            append(self.path, plain_match(match))


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Append a line in one write and bring it to disk; one that was cut off before it goes. Raises ResourceError if it is not kept."""
    try:
        line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        raise DataError("a text is not valid Unicode (a lone surrogate)") from None
    with _opened(path) as (file, closed):
        size = os.fstat(file).st_size
        if os.write(file, closed + line) < len(closed + line):
            os.ftruncate(file, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file)


def has_lines(path: Path) -> bool:
    """Whether there is something to read; a last line that was cut off is no more."""
    if not path.exists():
        return False
    with _opened(path) as (file, _):
        return os.fstat(file).st_size > 0


@contextmanager
def _opened(path: Path) -> Iterator[tuple[int, bytes]]:
    """The file, and what is to stand before the next line."""
    with disk_errors(path):
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            yield file, _close(file)
        finally:
            os.close(file)


def _close(file: int) -> bytes:
    """What is to stand before the next line. A last one that was cut off is taken away: nobody was told that it is kept."""
    size = os.fstat(file).st_size
    if not size or os.pread(file, 1, size - 1) == b"\n":
        return b""
    whole = os.pread(file, size, 0)
    start = whole.rfind(b"\n") + 1
    try:
        json.loads(whole[start:])
    except ValueError:
        os.ftruncate(file, start)
        return b""
    return b"\n"
