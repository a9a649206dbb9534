"""Our own engine in another process: started and ended by the one who asks, over its pipes, so nobody else can ask it and no port is open.

The program that runs there is stages/sampler_process.py. It ends with us, whatever we are ended by.
"""

import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, TimeoutError as Late
from contextlib import suppress
from itertools import count
from typing import Any

from trivium.core.config import plain
from trivium.core.errors import EngineError, TriviumError
from trivium.generate.samplers import Answer, Batch, Weights

_SERVE = "from trivium.stages.sampler_process import serve; serve(sys.argv[2])"
_PROGRAM = f"import json, sys; sys.path[:] = json.loads(sys.argv[1]); {_SERVE}"
PATIENCE_S = 3600.0  # for a batch or new weights: a hang ends, a slow machine does not


class OwnSampler:
    """The process. options: how it samples, for `serve` there. Raises EngineError when it ends or hangs, and what it raises."""

    name = "in the other process"

    def __init__(self, options: Mapping[str, Any], *, patience_s: float = PATIENCE_S) -> None:
        self._patience_s, self._numbers, self._lock = patience_s, count(), threading.Lock()
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        program = [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), str(os.getpid())]
        self._process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
            start_new_session=True,  # Ctrl-C is ours: a phase that is being sampled is finished and saved
        )  # fmt: skip
        self._end = weakref.finalize(self, _end, self._process)
        threading.Thread(target=_listen, args=(self._process, self._waiting, self._lock), name="sampler's replies", daemon=True).start()
        self._write(json.dumps(dict(options)))

    @property
    def process_id(self) -> int:
        """Of the other process."""
        return self._process.pid

    def load(self, weights: Weights, *, is_in_flight: bool) -> None:
        """See Server. It reads them beside those it has, and confirms the checksum of what it read before it takes them."""
        asked = {"folder": str(weights.folder), "version": weights.version, "checksum": weights.checksum, "is_in_flight": is_in_flight}
        reply = self._ask("load", asked)
        if reply.get("checksum") != weights.checksum:
            raise EngineError(f"{self.name}: it read weights with the checksum {reply.get('checksum')}, not {weights.checksum}")

    def sample(self, batch: Batch, numbers: Sequence[int]) -> list[Answer | str]:
        """See Server. Together they are the batch that the engine here would make of them, so the same bits come back."""
        asked = {
            "prompts": [batch.prompts[number].tolist() for number in numbers], "numbers": list(numbers),
            "sampling": plain(batch.sampling), "seed": batch.seed, "purpose": batch.purpose, "step": batch.step,
        }  # fmt: skip
        return [Answer(**answer) for answer in self._ask("sample", asked)["answers"]]

    def close(self) -> None:
        """End it: it has nothing to lose."""
        self._end()

    def _ask(self, what: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        number, reply = next(self._numbers), Future[dict[str, Any]]()
        with self._lock:
            self._waiting[number] = reply
        self._write(json.dumps({"number": number, "what": what, **asked}))
        try:
            found = reply.result(self._patience_s if self._process.poll() is None else 1.0)
        except Late:
            self.close()
            raise EngineError(f"{self.name}: no answer within {self._patience_s:g} s") from None
        if "error" in found:
            kinds = {kind.__name__: kind for kind in TriviumError.__subclasses__()}
            raise kinds.get(found["kind"], EngineError)(found["error"])
        return found

    def _write(self, line: str) -> None:
        """A line to a process that has ended is answered by the one that listens."""
        assert self._process.stdin is not None
        with self._lock, suppress(OSError, ValueError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()


def _listen(process: "subprocess.Popen[str]", waiting: dict[int, "Future[dict[str, Any]]"], lock: threading.Lock) -> None:
    """Give replies to those who wait for them; when the process ends, all who wait are told."""
    assert process.stdout is not None
    with suppress(OSError, ValueError):
        for line in process.stdout:
            reply = json.loads(line)
            with lock:
                asked = waiting.pop(reply["number"], None)
            if asked is not None:
                asked.set_result(reply)
    code = process.wait()
    with lock:
        left, reason = list(waiting.values()), f"the process of the sampler has ended (code {code}; what it said is above)"
        waiting.clear()
    for asked in left:
        asked.set_result({"error": reason, "kind": EngineError.__name__})


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError, ValueError):
                pipe.close()
