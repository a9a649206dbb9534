"""The process of a plugin: loads the user's file, and calls a function of it for line after line of answers.

What the function prints goes to stderr. The first reply says that it is loaded, the others {"scores": [...]} or {"error": ...}.
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
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as replies:
        os.dup2(2, 1)
        sys.stdin.readline()
        first, function = _loaded(Path(file), name, digest)
        _reply(replies, first)
        if function is None:
            return
        for line in sys.stdin:
            if not line.endswith("\n"):  # the parent died in the middle of a line
                return
            _reply(replies, _scored(function, [_said(fields) for fields in json.loads(line)], file))


def end_with(parent: int) -> None:
    """Be killed when the parent dies, whatever is called then. Linux only: elsewhere a call that is under way goes on to its end."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def _loaded(file: Path, name: str, digest: str) -> tuple[dict[str, Any], Callable[[list[Said]], Any] | None]:
    source = file.read_bytes()
    if sha256(source).hexdigest() != digest:
        return {"changed": True}, None
    module = ModuleType(file.stem)
    module.__file__ = str(file.resolve())
    sys.path.insert(0, str(file.resolve().parent))
    sys.modules[file.stem] = module
    try:
        exec(compile(source, str(file), "exec"), vars(module))
    except Exception as error:  # it may fail in any way
        return {"error": f"raised {_told(error, str(file))}"}, None
    function = vars(module).get(name)
    if not callable(function):
        there = ", ".join(sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))) or "none"
        return {"error": f"is not there (functions in the file: {there})"}, None
    return {"loaded": True}, function


def _scored(function: Callable[[list[Said]], Any], answers: list[Said], file: str) -> dict[str, Any]:
    """What the function says of the answers; where it raises, the answer for which it does so alone is looked for."""
    try:
        found = function(answers)
    except Exception as error:  # it may fail in any way
        return {"error": f"raised {_told(error, file)} for {_culprit(function, answers)}"}
    if not isinstance(found, Sequence | np.ndarray) or isinstance(found, str | bytes):
        return {"error": f"gave {type(found).__name__} for {len(answers):,} answers; a list of numbers is expected"}
    return {"scores": [_plain(score) for score in found]}


def _culprit(function: Callable[[list[Said]], Any], answers: list[Said]) -> str:
    for said in answers:
        try:
            function([said])
        except Exception:  # the one that was looked for
            return f"the answer {said.response[:60]!r}"
    return f"{len(answers):,} answers together, from {answers[0].response[:60]!r}"


def _plain(score: Any) -> Any:
    """A number as it is; anything else as a text that says what it is, which `checked` refuses."""
    if isinstance(score, np.floating | np.integer):
        return score.item()
    return score if isinstance(score, int | float) else f"{type(score).__name__} {score!r}"[:80]


def _told(error: Exception, file: str) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{type(error).__name__}: {error}"[:200] + (f" (line {lines[-1]})" if lines else "")


def _said(fields: dict[str, Any]) -> Said:
    prompt = tuple(Message(**message) for message in fields["prompt"])
    return Said(prompt, fields["response"], fields["is_stopped"], fields["fields"])


def _reply(replies: Any, told: dict[str, Any]) -> None:
    replies.write(json.dumps(told) + "\n")
    replies.flush()
