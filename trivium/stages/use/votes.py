"""Votes of people on pairs of answers: a line of votes.jsonl each, which `matches`, `rank` and `route` read."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from trivium.core.commit import disk_errors, make_folder
from trivium.core.errors import ConfigError, DataError
from trivium.core.types import Match
from trivium.text.read import read_matches
from trivium.text.records.matches import plain_match

FILE = "votes.jsonl"


class Votes:
    """The file that they go to, below a folder; it only grows."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self.path, self._lock = folder / FILE, threading.Lock()
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_file()):
            raise ConfigError(f"{self.path}: is no plain file, so votes cannot be written to it")

    def given(self) -> Iterator[Match]:
        """Those that are there. Raises DataError for a line that is none."""
        if self.path.exists() and self.path.stat().st_size:
            yield from read_matches(self.path)

    def add(self, match: Match) -> None:
        """Append a line in one write and bring it to disk; one that was cut off before it is closed first."""
        try:
            line = json.dumps(plain_match(match), ensure_ascii=False).encode() + b"\n"
        except UnicodeEncodeError:
            raise DataError("a text is not valid Unicode (a lone surrogate)") from None
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        with self._lock, disk_errors(self.path):
            file = os.open(self.path, flags, 0o600)
            try:
                size = os.fstat(file).st_size
                cut_off = size > 0 and os.pread(file, 1, size - 1) != b"\n"
                os.write(file, b"\n" * cut_off + line)
                os.fsync(file)
            finally:
                os.close(file)
