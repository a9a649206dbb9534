"""A process that makes runs, one after another, asked by a line of JSON each and answering with how it ended.

It hears of an interrupt only through the one who asks, and ends with that one, whatever that is ended by.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from trivium.core.config import build, plain
from trivium.core.errors import RankError, TriviumError
from trivium.core.interrupt import KEPT, Interrupted, interrupted
from trivium.core.launch import ChildError
from trivium.core.line_process import LineProcess, NoReplyError
from trivium.stages.pipeline import execute, stored_machine
from trivium.stages.recipe import Recipe

_LIGHT = "from trivium.core.world import HEAVY, defer, prepare_environment; prepare_environment(); defer(*HEAVY)"
_PROGRAM = f"import json, sys; sys.path[:] = json.loads(sys.argv[1]); {_LIGHT}; from trivium.studies.run_process import serve; serve()"


class RunProcess:
    """The process; one that has ended is started again. threads: those of a run that does not say how many, nor has begun with others."""

    def __init__(self, *, threads: int) -> None:
        self._threads = threads
        self._process: LineProcess | None = None

    def start(self) -> None:
        """Start it if it does not run."""
        if self._process is None or not self._process.is_alive:
            self._process = LineProcess([sys.executable, "-c", _PROGRAM, json.dumps(sys.path)], is_apart=True)

    def make(self, recipe: Recipe, folder: Path) -> Exception | None:
        """Make a run in its folder; what it failed with. Raises Interrupted."""
        assert self._process is not None
        asked = {"recipe": plain(recipe), "folder": str(folder), "threads": self._threads}
        try:
            ended = json.loads(self._process.ask(json.dumps(asked)))
        except NoReplyError as error:
            return RankError(
                f"{folder}: its process ended with code {error.code}; what it said is above, -9 is lack of memory; the same command goes on"
                " from the last checkpoint"
            )
        if ended["code"] > 128:
            raise Interrupted(ended["code"] - 128, KEPT)
        return ChildError(ended["message"], ended["code"]) if ended["code"] else None

    def interrupt(self) -> None:
        """Ask the run to save and stop."""
        if self._process is not None:
            self._process.tell(signal.SIGTERM)

    def close(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.close()


def serve() -> None:
    """Make what is asked, line by line, until there is no more or who asks is dead. What is said goes to the run's log.txt only."""
    signal.signal(signal.SIGTERM, interrupted)
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    asked = SimpleQueue[dict[str, Any]]()
    Thread(target=_listen, args=(asked,), name="what is asked", daemon=True).start()
    with suppress(Interrupted, BrokenPipeError):
        while True:
            replies.write(json.dumps(_made(**asked.get())) + "\n")
            replies.flush()
    os._exit(0)  # without Python's own end, which would write once more


def _listen(asked: "SimpleQueue[dict[str, Any]]") -> None:
    """In a thread of its own: a run that is under way ends too when the pipe does."""
    for line in sys.stdin:
        if line.endswith("\n"):  # else it died in the middle of it
            asked.put(json.loads(line))
    os._exit(0)


def _made(recipe: Mapping[str, Any], folder: str, threads: int) -> dict[str, Any]:
    """How it ended: the exit code that the command line would have, and the line that it would say."""
    try:
        execute(_with_threads(build(Recipe, recipe), Path(folder), threads), Path(folder), quiet=True)
    except TriviumError as error:
        return {"code": error.exit_code, "message": str(error)}
    except Exception as error:  # a defect of ours is shown here, and costs no other run
        traceback.print_exc()
        return {"code": 1, "message": f"{type(error).__name__}: {error}"}
    return {"code": 0}


def _with_threads(recipe: Recipe, folder: Path, threads: int) -> Recipe:
    """Its share of the cores, unless somebody has chosen: the recipe, or an earlier start, with whose threads it must go on."""
    if recipe.machine.threads or stored_machine(folder / "run.toml").answers(recipe.machine):
        return recipe
    return replace(recipe, machine=replace(recipe.machine, threads=threads))
