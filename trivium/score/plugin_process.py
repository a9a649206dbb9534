"""The process of a plugin: loads the user's file, and calls a function of it for line after line of answers.

What the function prints goes to stderr, and it has no stdin. The first reply says that it is loaded, the others {"scores": [...]} or
{"error": ...}. Whatever it raises is told, an exit and an interrupt too; if it takes away what it is asked and answers through, the process
ends without a word.
"""

import ctypes
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from trivium.core.types import Message
from trivium.score.said import Said

PR_SET_PDEATHSIG = 1


def serve(file: str, name: str, digest: str, parent: str) -> None:
    """Answer until there are no more lines. digest: the sha256 that the file must have. parent: the process that we end with, on Linux."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's, which ends us
    end_with(int(parent))
    requests, replies = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    try:
        requests.readline()
        first, function = _loaded(Path(file), name, digest)
        _reply(replies, first)
        # a line without an end is the last that a parent wrote before it died
        while function is not None and (line := requests.readline()).endswith("\n"):
            _reply(replies, _scored(function, [_said(fields) for fields in json.loads(line)], file))
    except (OSError, ValueError):  # of a pipe that is closed: by the function, or because the parent is dead
        os._exit(1)
    os._exit(0)  # nothing of the function's runs at the end, and nothing is flushed into what it may have closed


def end_with(parent: int) -> None:
    """Be killed when the parent dies, whatever is called then. Linux only: elsewhere a call that is under way goes on to its end."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def _loaded(file: Path, name: str, digest: str) -> tuple[dict[str, Any], Callable[[list[Said]], Any] | None]:
    source = file.read_bytes() if file.exists() else b""
    if sha256(source).hexdigest() != digest:
        return {"changed": True}, None
    module = ModuleType(file.stem)
    module.__file__ = str(file.resolve())
    sys.path.insert(0, str(file.resolve().parent))
    sys.modules[file.stem] = module
    try:
        exec(compile(source, str(file), "exec"), vars(module))
    except BaseException as error:  # it may fail in any way
        return {"error": f"raised {_told(error, str(file))}"}, None
    function = vars(module).get(name)
    if not callable(function):
        there = ", ".join(sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))) or "none"
        return {"error": f"is not there (functions in the file: {there})"}, None
    return {"loaded": True}, function


def _scored(function: Callable[[list[Said]], Any], answers: list[Said], file: str) -> dict[str, Any]:
    """What the function says of the answers; where it raises, the answer for which it does so alone is looked for."""
    try:
        return _read(function(list(answers)), len(answers))
    except BaseException as error:  # it may fail in any way, and what it gives too
        return {"error": f"raised {_told(error, file)} for {_culprit(function, answers)}"}


def _read(found: Any, count: int) -> dict[str, Any]:
    """What it gave, if that is a list, as plain values."""
    if not isinstance(found, Sequence | np.ndarray) or isinstance(found, str | bytes):
        return {"error": f"gave {type(found).__name__} for {count:,} answers; a list of numbers is expected"}
    if isinstance(found, np.ndarray) and found.ndim != 1:
        return {"error": f"gave an array of shape {found.shape} for {count:,} answers; a list of numbers is expected"}
    return {"scores": [_plain(score) for score in found]}


def _culprit(function: Callable[[list[Said]], Any], answers: list[Said]) -> str:
    for said in answers:
        try:
            _read(function([said]), 1)
        except BaseException:  # the one that was looked for
            return f"the answer {said.response[:60]!r}"
    return f"{len(answers):,} answers together, from {answers[0].response[:60]!r}"


def _plain(score: Any) -> Any:
    """A number as it is; anything else, and an integer beyond all floats, as a text that says what it is, which `checked` refuses."""
    if isinstance(score, np.floating | np.integer):
        return score.item()
    if isinstance(score, int) and score.bit_length() > sys.float_info.max_exp:
        return f"an integer of {score.bit_length():,} bits"
    return score if isinstance(score, int | float) else f"{type(score).__name__} {_shown(score, repr)}"[:80]


def _told(error: BaseException, file: str) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{type(error).__name__}: {_shown(error, str)}"[:200] + (f" (line {lines[-1]})" if lines else "")


def _shown(value: Any, how: Callable[[Any], str]) -> str:
    try:
        return how(value)
    except BaseException:  # it may fail in any way
        return "that cannot be shown"


def _said(fields: dict[str, Any]) -> Said:
    prompt = tuple(Message(**message) for message in fields["prompt"])
    return Said(prompt, fields["response"], fields["is_stopped"], fields["fields"])


def _reply(replies: Any, told: dict[str, Any]) -> None:
    replies.write(json.dumps(told) + "\n")
    replies.flush()
