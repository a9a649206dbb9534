"""Runs the command line many times without paying for its imports: a process that has imported everything forks once a run.

Each run goes through the real `main()` with its own arguments, folder and streams. With `imports_torch` the forked process
has torch already; without it torch is deferred as the command line does, and `Ended.loaded_torch` says whether the run needed it.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: its exit code (negative: the signal that killed it) and what it wrote."""

    code: int
    out: str
    err: str
    loaded_torch: bool


class Going:
    """A run that has been started."""

    def __init__(self, server: "ForkServer", pid: int, folder: Path) -> None:
        self.pid, self._server, self._folder = pid, server, folder

    def signal(self, number: int) -> None:
        """Send a signal; the server has not waited for the process yet, so the number is still its own."""
        os.kill(self.pid, number)

    def has_ended(self) -> bool:
        """Whether it is a zombie, which it stays until `wait`."""
        return Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"

    def wait(self) -> Ended:
        """Wait for the end."""
        answer = self._server.ask({"wait": self.pid})
        out, err = ((self._folder / name).read_text(encoding="utf-8", errors="replace") for name in ("stdout", "stderr"))
        return Ended(answer["code"], out, err, answer["loaded_torch"])


class ForkServer:
    """A context manager; one run at a time, or several with a name each."""

    def __init__(self, folder: Path, *, imports_torch: bool) -> None:
        self._folder, self._imports_torch = folder, imports_torch

    def __enter__(self) -> "ForkServer":
        self._folder.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-m", "tests.fork_server", str(int(self._imports_torch))]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        self._process = subprocess.Popen(
            words, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def start(
        self, arguments: Sequence[str], folder: Path, *, said: str = "", environment: Mapping[str, str] | None = None, name: str = ""
    ) -> Going:
        """Start `trivium ARGUMENTS` in a folder; `said` is what it reads from its standard input. name: of one of several at a time."""
        streams = self._folder / name
        streams.mkdir(exist_ok=True)
        (streams / "stdin").write_text(said, encoding="utf-8")
        request = {
            "arguments": list(arguments),
            "folder": str(folder),
            "streams": str(streams),
            "environment": dict(environment or {}),
        }
        return Going(self, self.ask(request)["pid"], streams)

    def run(self, arguments: Sequence[str], folder: Path, *, said: str = "", environment: Mapping[str, str] | None = None) -> Ended:
        """Start and wait."""
        return self.start(arguments, folder, said=said, environment=environment).wait()

    def ask(self, request: Mapping[str, object]) -> dict[str, int]:
        """Send one request to the server process and return its answer."""
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the fork server ended")
        return json.loads(line)


def _serve(imports_torch: bool) -> None:
    from trivium.core.world import HEAVY, defer, prepare_environment

    prepare_environment()
    if not imports_torch:
        defer(*HEAVY)
    import trivium.cli
    import trivium.stages.pipeline
    import trivium.stages.planning.plan
    import trivium.stages.recipe
    import trivium.stages.use.chat

    if imports_torch:
        import trivium.evals.bits_per_byte
        import trivium.generate.engine
        import trivium.stages.computing.models
        import trivium.stages.computing.rollouts
        import trivium.train.fit  # noqa: F401

    pipes: dict[int, int] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            pid = request["wait"]
            _, status = os.waitpid(pid, 0)
            loaded = os.read(pipes[pid], 1) == b"1"
            os.close(pipes.pop(pid))
            answer = {"code": os.waitstatus_to_exitcode(status), "loaded_torch": loaded}
        else:
            reading, writing = os.pipe()
            pid = os.fork()
            if not pid:
                _child(request, writing)
            os.close(writing)
            pipes[pid] = reading
            answer = {"pid": pid}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _child(request: Mapping[str, object], told: int) -> None:
    """Become `trivium ARGUMENTS` with the given streams; never returns."""
    import trivium.cli

    streams = Path(request["streams"])
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        opened = os.open(streams / name, os.O_RDONLY if not number else os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(opened, number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = ["trivium", *request["arguments"]]
    code = 70  # an error that is not a typed one: its traceback is on stderr
    try:
        trivium.cli.main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException as error:  # what the interpreter itself would do at the end of a process
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(told, b"1" if "torch._C" in sys.modules else b"0")
        os._exit(code)


if __name__ == "__main__":
    _serve(imports_torch=sys.argv[1] == "1")
