"""Our own engine in another process: started and ended by the one who asks, over its pipes, so nobody else can ask it and no port is open.

The program that runs there is stages/sampler_process.py. It ends when its pipe does, so with us, whatever we are
ended by.
"""

import json
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, TimeoutError as Late
from contextlib import suppress
from itertools import count
from queue import SimpleQueue
from typing import Any

from trivium.core.config import plain
from trivium.core.errors import EngineError, TriviumError
from trivium.core.line_process import end
from trivium.core.pulse import Pulse
from trivium.generate.samplers import Answer, Batch, Weights

_SERVE = "from trivium.stages.sampler_process import serve; serve()"
_PROGRAM = f"import json, sys; sys.path[:] = json.loads(sys.argv[1]); {_SERVE}"
LOOK_EVERY_S = 1.0


class OwnSampler:
    """The process; one that ended is started again with the next weights. options: how it samples, for `serve` there.

    It says that it goes on while it samples; core/pulse.py judges by that. Raises EngineError when it ends or hangs, and what is raised
    there.
    """

    name = "in the other process"

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options, self._numbers, self._lock = dict(options), count(), threading.Lock()
        self._is_closed = False
        self._start()

    def _start(self) -> None:
        self._waiting: dict[int, Future[dict[str, Any]]] = {}  # of this process: those of one before were told that it has ended
        program = [sys.executable, "-c", _PROGRAM, json.dumps(sys.path)]
        self._process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
            start_new_session=True,  # Ctrl-C is ours: a phase that is being sampled is finished and saved
        )  # fmt: skip
        self._lines, self._pulse = SimpleQueue[str | None](), Pulse(self._process.pid)
        self._end = weakref.finalize(self, _end, self._process, self._lines)
        heard = (self._process, self._waiting, self._lock, self._pulse)
        threading.Thread(target=_listen, args=heard, name="sampler's replies", daemon=True).start()
        threading.Thread(target=_write, args=(self._process, self._lines), name="what the sampler is asked", daemon=True).start()
        self._lines.put(json.dumps(self._options))

    @property
    def process_id(self) -> int:
        """Of the other process."""
        return self._process.pid

    def load(self, weights: Weights, *, is_in_flight: bool) -> None:
        """See Server. It reads them beside those it has, and confirms the checksum of what it read before it takes them."""
        if self._process.poll() is not None and not self._is_closed:
            self._start()
        asked = {"folder": str(weights.folder), "version": weights.version, "checksum": weights.checksum, "is_in_flight": is_in_flight}
        reply = self._ask("load", asked)
        if reply.get("checksum") != weights.checksum:
            raise EngineError(f"it read weights with the checksum {reply.get('checksum')}, not {weights.checksum}")

    def sample(self, batch: Batch, numbers: Sequence[int]) -> list[Answer | str]:
        """See Server. Together they are the batch that the engine here would make of them, so the same bits come back."""
        asked = {
            "prompts": [batch.prompts[number].tolist() for number in numbers], "numbers": list(numbers),
            "sampling": plain(batch.sampling), "seed": batch.seed, "purpose": batch.purpose, "step": batch.step,
        }  # fmt: skip
        return [Answer(**answer) for answer in self._ask("sample", asked)["answers"]]

    def close(self) -> None:
        """End it: it has nothing to lose."""
        self._is_closed = True
        self._end()

    def _ask(self, what: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        number, reply = next(self._numbers), Future[dict[str, Any]]()
        with self._lock:
            if not self._waiting:
                self._pulse.ask()
            self._waiting[number] = reply
        self._lines.put(json.dumps({"number": number, "what": what, **asked}))
        if self._process.poll() is not None:  # nobody may be there to say that nobody is there
            raise EngineError(_ended(self._process))
        found = self._reply(reply)
        if "error" in found:
            kinds = {kind.__name__: kind for kind in TriviumError.__subclasses__()}
            raise kinds.get(found["kind"], EngineError)(found["error"])
        return found

    def _reply(self, reply: "Future[dict[str, Any]]") -> dict[str, Any]:
        """What it answers. Raises EngineError once it hangs, and ends it."""
        end, pulse = self._end, self._pulse  # another thread may have started the next one by then
        while True:
            with suppress(Late):
                return reply.result(LOOK_EVERY_S)
            if why := pulse.fault():
                end()
                raise EngineError(why)


def _write(process: "subprocess.Popen[str]", lines: "SimpleQueue[str | None]") -> None:
    """Ask in a thread: a process that was stopped reads nothing. That it has ended is told by the one that listens."""
    assert process.stdin is not None
    with suppress(OSError, ValueError):
        while (line := lines.get()) is not None:
            process.stdin.write(line + "\n")
            process.stdin.flush()


def _listen(
    process: "subprocess.Popen[str]", waiting: dict[int, "Future[dict[str, Any]]"], lock: threading.Lock, pulse: Pulse
) -> None:  # fmt: skip
    """Give replies to those who wait for them; when the process ends, all who wait are told. A reply to nothing says that it goes on."""
    assert process.stdout is not None
    with suppress(OSError, ValueError):
        for line in process.stdout:
            reply = json.loads(line)
            pulse.hear()
            with lock:
                asked = waiting.pop(reply["number"], None)
            if asked is not None:
                asked.set_result(reply)
    process.wait()
    with lock:
        left = list(waiting.values())
        waiting.clear()
    for asked in left:
        asked.set_result({"error": _ended(process), "kind": EngineError.__name__})


def _end(process: "subprocess.Popen[str]", lines: "SimpleQueue[str | None]") -> None:
    lines.put(None)
    end(process)


def _ended(process: "subprocess.Popen[str]") -> str:
    return f"the process of the sampler has ended (code {process.returncode}; what it said is above)"
