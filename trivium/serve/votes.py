"""Votes on pairs of answers: a line of votes.jsonl each, which `rank`, `route` and `text.read.read_matches` read as matches."""

import json
import os
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from pydantic import Field

from trivium.core.commit import disk_errors, make_folder
from trivium.core.errors import ConfigError
from trivium.core.types import Match
from trivium.serve.asked import RefusedError, Strict, Turn
from trivium.text.records.matches import plain_match

FILE = "votes.jsonl"
_SCORES = {"a": 1.0, "b": 0.0, "tie": 0.5}


class Vote(Strict):
    """The body of /votes: which of two answers to a prompt was better."""

    models: list[str] = Field(min_length=2, max_length=2)
    winner: Literal["a", "b", "tie"]
    prompt: list[Turn] = Field(min_length=1, max_length=1024)
    answers: list[str] = Field(min_length=2, max_length=2)

    def match(self, known: Collection[str]) -> Match:
        """The vote as a match. Raises RefusedError if the models are not two of those that are served."""
        first, second = self.models
        if first == second or not {first, second} <= set(known):
            raise RefusedError("'models': two different models that are served here are needed", "models", 404)
        prompt = tuple(turn.message() for turn in self.prompt)
        if not prompt[-1].role == "user":
            raise RefusedError("'prompt': the last turn must be the user's", "prompt")
        return Match((first, second), _SCORES[self.winner], prompt, (self.answers[0], self.answers[1]))


class Votes:
    """The file that they go to, below a folder; it only grows."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self.path, self._lock = folder / FILE, threading.Lock()
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_file()):
            raise ConfigError(f"{self.path}: is no plain file, so votes cannot be written to it")

    def add(self, match: Match) -> None:
        """Append a line in one write and bring it to disk; one that was cut off before it is closed first."""
        try:
            line = json.dumps(plain_match(match), ensure_ascii=False).encode() + b"\n"
        except UnicodeEncodeError:
            raise RefusedError("a text is not valid Unicode (a lone surrogate)") from None
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
