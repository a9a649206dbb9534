"""The process of our own sampler: takes weights, answers batches, line by line of JSON over its pipes, until the trainer ends.

Replies are {"number": of what was asked, ...}, with "error" and its "kind" where that failed; between the steps of a batch {"number": null}
says that it goes on. What is printed here goes to stderr.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from trivium.core.config import build
from trivium.core.errors import ArtefactError, EngineError, TriviumError
from trivium.core.world import prepare_environment

SPEAK_EVERY_S = 1.0


def serve() -> None:
    """Answer until there are no more lines, or who wrote them is dead."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare_environment()
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    options = json.loads(sys.stdin.readline() or "null")
    if options is None:
        return
    asked, in_flight = SimpleQueue[Any](), SimpleQueue[Any]()
    threading.Thread(target=_listen, args=(asked, in_flight), name="what is asked", daemon=True).start()
    _Sampler(options, asked, in_flight, replies).run()


def _listen(asked: "SimpleQueue[Any]", in_flight: "SimpleQueue[Any]") -> None:
    """Read lines to their end, and end the process then: the trainer died, in the middle of a line perhaps."""
    for line in sys.stdin:
        if not line.endswith("\n"):
            break
        request = json.loads(line)
        if request.get("is_in_flight"):
            in_flight.put(request)
            asked.put(None)  # wakes who has nothing to do
        else:
            asked.put(request)
    os._exit(0)


class _Sampler:
    """An engine, made when the first weights come; and whose weights it has."""

    def __init__(self, options: Mapping[str, Any], asked: "SimpleQueue[Any]", in_flight: "SimpleQueue[Any]", replies: Any) -> None:
        from trivium.stages.machine import Machine

        self._options, self._asked, self._in_flight, self._replies = options, asked, in_flight, replies
        self._machine = build(Machine, options["machine"]).measured()
        self._engine: Any = None
        self._version, self._spoke = -1, time.monotonic()

    def run(self) -> None:
        """Do what is asked, in order; weights in flight as soon as they come."""
        while True:
            request = self._asked.get()
            self._take()
            if request is not None:
                self._do(request)

    def _do(self, request: dict[str, Any]) -> None:
        number, what = request.pop("number"), request.pop("what")
        try:
            reply = self._load(**request) if what == "load" else self._sample(**request)
        except TriviumError as error:
            reply = {"error": str(error), "kind": type(error).__name__}
        self._say({"number": number, **reply})

    def _say(self, reply: Mapping[str, Any]) -> None:
        self._replies.write(json.dumps(reply) + "\n")
        self._replies.flush()
        self._spoke = time.monotonic()

    def _take(self) -> bool:
        """Load the weights that came to be taken in flight; whether there were some."""
        before = self._version
        while True:
            try:
                self._do(self._in_flight.get_nowait())
            except Empty:
                return self._version != before

    def _load(self, folder: str, version: int, checksum: str, is_in_flight: bool) -> dict[str, Any]:
        from trivium.generate.engine import Engine
        from trivium.nn.adapter import fingerprint
        from trivium.stages.computing.models import Speaker

        try:
            model = Speaker.load(Path(folder), self._machine).model
        except ArtefactError as error:
            raise EngineError(str(error)) from None
        found = fingerprint(model)
        if found == checksum and self._engine is None:
            how = {name: self._options[name] for name in ("stop_ids", "rows", "precision", "kernels")}
            self._engine = Engine(model.requires_grad_(False), **how)
        elif found == checksum:
            if model.config != self._engine.model.config:
                raise EngineError(f"{folder}: is a model of another shape")
            self._engine.model.load_state_dict(model.state_dict())
        else:
            return {"checksum": found}
        self._version = version
        return {"checksum": found}

    def _sample(self, prompts: list[list[int]], numbers: list[int], sampling: dict[str, Any], **stream: Any) -> dict[str, Any]:
        from trivium.generate.sampling import Sampling

        if self._engine is None:
            raise EngineError("there are no weights yet")
        versions: list[list[int]] = [[] for _ in prompts]

        def follow(job: Any) -> None:
            if time.monotonic() - self._spoke > SPEAK_EVERY_S:
                self._say({"number": None})
            if self._take():
                job.follow()

        answers = self._engine.generate(
            [np.array(prompt, np.int32) for prompt in prompts], build(Sampling, sampling), numbers=numbers, on_step=follow,
            on_token=lambda place, _: versions[place].append(self._version), **stream,
        )  # fmt: skip
        said = [
            {
                "tokens": answer.response.tolist(), "logprobs": answer.columns["old_logprobs"][answer.loss_mask > 0].tolist(),
                "versions": spoken, "finish": "stop" if int(answer.tokens[-1]) in self._engine.stop_ids else "length",
            }
            for answer, spoken in zip(answers, versions, strict=True)
        ]  # fmt: skip
        return {"answers": said}
