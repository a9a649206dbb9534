"""A reward of your own: a Python function in a file that you allowed by name, run in a process of its own.

The recipe says which function, the command line (`--plugin my_rewards.py`) that its file may run: a recipe alone never loads code.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import ArtefactError, ConfigError, DataError, RankError
from trivium.core.line_process import LineProcess, NoReplyError
from trivium.score.said import Said

_SERVE = "from trivium.score.plugin_process import serve; serve(*sys.argv[2:])"
_PROGRAM = f"import json, sys; sys.path[:] = json.loads(sys.argv[1]); {_SERVE}"
LOADING_S = 60.0  # importing may take long


@component
class Plugin:
    """What a function of your own says: `def score(answers: list[Said]) -> list[float]`, as function="my_rewards.py:score".

    seconds: for a batch of answers, all of those of a phase. A function that takes longer is ended and asked once more.
    """

    kind: Literal["plugin"] = "plugin"
    function: str
    seconds: float = Field(default=60.0, gt=0)
    weight: float = Field(default=1.0)

    def __post_init__(self) -> None:
        file, colon, name = self.function.rpartition(":")
        if not colon or not file.endswith(".py") or not name.isidentifier():
            raise ValueError(f"function is {self.function!r}; FILE.py:NAME is expected, such as my_rewards.py:score")

    @property
    def file(self) -> Path:
        """The file that the function is in."""
        return Path(self.function.rpartition(":")[0])

    def open(self, plugins: Mapping[str, str]) -> "OpenPlugin":
        """Load it. plugins: absolute path -> sha256 of the files that may run. Raises ConfigError for another and what fails."""
        return OpenPlugin(self, allowed(self.file, plugins))


def allowed(file: Path, plugins: Mapping[str, str]) -> str:
    """The sha256 of a file that the user allowed to run. Raises ConfigError for any other."""
    digest = plugins.get(str(file.resolve()))
    if digest is None:
        raise ConfigError(f"{file}: is Python that the recipe wants to run; if you know and trust it, add --plugin {file}")
    return digest


class OpenPlugin:
    """The function, in its process. Raises what `serve` says: ArtefactError for another file than was allowed, ConfigError, DataError."""

    def __init__(self, options: Plugin, digest: str) -> None:
        self.options, self.kind, self.weight, self._digest = options, options.kind, options.weight, digest
        self._process = self._started()

    def __call__(self, answers: Sequence[Said]) -> list[Any]:
        """What the function says. Raises RankError if it ends its process or takes too long twice, DataError if it raises."""
        request = json.dumps([asdict(said) for said in answers], default=str)
        ended = ""
        for _ in range(2):
            if ended:
                self._process = self._started()
            reply, ended = self._ask(request, self.options.seconds)
            if not ended:
                if "error" in reply:
                    raise DataError(f"the reward {self.options.function} {reply['error']}")
                return reply["scores"]
        first = answers[0].response[:60]
        raise RankError(f"the reward {self.options.function} {ended}, twice, for {len(answers):,} answers from {first!r} on")

    def _started(self) -> LineProcess:
        file, _, name = self.options.function.rpartition(":")
        self._process = LineProcess([sys.executable, "-c", _PROGRAM, json.dumps(sys.path), file, name, self._digest, str(os.getpid())])
        reply, ended = self._ask("", LOADING_S)
        if ended or "error" in reply:
            raise ConfigError(f"the reward {self.options.function} {ended or reply['error']} while it is loaded")
        if "changed" in reply:
            raise ArtefactError(f"{file}: changed since the run began; start the command again")
        return self._process

    def _ask(self, request: str, seconds: float) -> tuple[dict[str, Any], str]:
        """Its reply to a line, and "" or why there is none; it is dead then."""
        try:
            return json.loads(self._process.ask(request, seconds)), ""
        except NoReplyError as error:
            return {}, f"took longer than {seconds:g} s" if error.is_late else f"ended its process (code {error.code})"
