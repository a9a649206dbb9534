"""The thread that runs the models, and answers that are awaited from it: requests go to it through a queue, words come back through one.

All requests to a model are one batch, which they join and leave at any token (generate/job.py).
"""

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np

from trivium.core.errors import DataError, TriviumError
from trivium.core.seeds import key
from trivium.core.types import Example
from trivium.generate.engine import Engine
from trivium.generate.job import Job, Request, Said
from trivium.generate.sampling import Sampling
from trivium.generate.writing import Writer
from trivium.stages.computing.models import Speaker

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Served:
    """A model with its name. context: positions of prompt and answer together. first_id: what stands before a text."""

    name: str
    speaker: Speaker
    engine: Engine
    first_id: int
    context: int


@dataclass(frozen=True, slots=True)
class Words:
    """What has come of one of the answers: text, the tokens behind it without the one that ends it, and why it ended if it has."""

    choice: int
    text: str
    tokens: tuple[Said, ...]
    finish: Finish | None = None


class FullError(Exception):
    """More answers are asked for than may wait."""


class Worker:
    """The models' thread. most: answers that may be in work or wait, all models together. log: told when a model fails."""

    def __init__(self, models: Sequence[Served], *, most: int, log: Callable[[str], None] = lambda _: None) -> None:
        self.models = {served.name: served for served in models}
        self.most, self.log = most, log
        self.asked: set[Answers] = set()  # those that are not closed
        self._jobs: dict[str, Job] = {served.name: served.engine.session(served.context) for served in models}
        self._inbox: queue.SimpleQueue[tuple[str, Request] | None] = queue.SimpleQueue()
        self._is_ended, self._held = False, 0
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)

    @property
    def open(self) -> int:
        """Answers in work or waiting, and those whose prompts are being read."""
        return sum(len(answers.requests) for answers in self.asked) + self._held

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End after the token that is being made; what is not answered is cut off there."""
        self._inbox.put(None)
        self._thread.join(timeout=30)

    @contextmanager
    def holding(self, count: int) -> Iterator[None]:
        """Inside, so many answers count as asked for: while their prompts become tokens, which is work too. Raises as `ask` does."""
        self._check_room(count)
        self._held += count
        try:
            yield
        finally:
            self._held -= count

    def ask(
        self, name: str, prompts: Sequence[np.ndarray], sampling: Sampling, *, seed: int, copies: int = 1, stop: Sequence[str] = (),
        alternatives: int | None = None,
    ) -> "Answers":  # fmt: skip
        """Answers to prompts of a model, so many to each, in order. Close them.

        Raises FullError, and DataError for too long a prompt, or more answers than it ever holds.

        What an answer is depends on prompt, sampling, seed and its number among the copies.
        """
        served = self.models[name]
        for prompt in prompts:
            if not 0 < len(prompt) < served.context:
                raise DataError(f"the prompt has {len(prompt):,} tokens; it needs 1 to {served.context - 1:,} to leave room for an answer")
        self._check_room(len(prompts) * copies)
        answers = Answers(self, served, stop)
        for prompt in prompts:
            end = min(served.context, len(prompt) + sampling.max_new_tokens)
            for number in range(copies):
                answers.add(Request(prompt, sampling, key(seed, "serve"), number, end, lambda _: None, alternatives=alternatives))
        self.asked.add(answers)
        for request in answers.requests:
            self._inbox.put((name, request))
        return answers

    def _check_room(self, count: int) -> None:
        if count > self.most:
            raise DataError(f"{count} answers are asked for at once; this server holds {self.most} at most")
        if self.open + count > self.most:
            raise FullError

    def _run(self) -> None:
        while not self._is_ended:
            self._receive()
            for name, job in self._jobs.items():
                if job.is_busy:
                    self._step(name, job)
        for job in self._jobs.values():
            for request in job.drop():
                request.on_end(None)

    def _receive(self) -> None:
        """Take in what has come; wait for something if there is nothing to do."""
        is_idle = not any(job.is_busy for job in self._jobs.values())
        try:
            while True:
                asked = self._inbox.get(block=is_idle)
                if asked is None:
                    self._is_ended = True
                    return
                self._jobs[asked[0]].submit(asked[1])
                is_idle = False
        except queue.Empty:
            pass

    def _step(self, name: str, job: Job) -> None:
        try:
            job.step()
        except Exception as error:  # damaged weights, no memory, a defect: these answers end, the thread goes on
            problem = str(error) if isinstance(error, TriviumError) else f"{type(error).__name__}: {error}"
            self.log(f"{name}: {problem}")
            for answers in list(self.asked):
                if answers.model == name:
                    answers.has_failed = True
            for request in job.drop():
                request.on_end(None)


class Answers:
    """Answers that are being made, as an iterator over their words. One event loop awaits them."""

    def __init__(self, worker: Worker, served: Served, stop: Sequence[str]) -> None:
        self.requests: list[Request] = []
        self.model, self.has_failed = served.name, False
        self.tokens = 0  # of all answers so far, their ends included
        self._worker, self._served, self._stop = worker, served, stop
        self._loop, self._words = asyncio.get_running_loop(), asyncio.Queue[Words]()

    @property
    def prompt_tokens(self) -> int:
        """Of all prompts, each once."""
        return sum(len(request.prompt) for request in self.requests if request.number == 0)

    def add(self, request: Request) -> None:
        """One more answer; its callbacks run in the models' thread."""
        choice, writer = len(self.requests), Writer(self._served.speaker.tokenizer, self._stop)
        pending: list[tuple[int, Said]] = []  # where in the text each begins
        stop_ids, last = self._served.engine.stop_ids, -1

        def tell(text: str, finish: Finish | None = None) -> None:
            said = tuple(said for at, said in pending if not writer.is_over or at < writer.size)  # none of the text that ends it
            self._tell(Words(choice, text, said, finish))
            pending.clear()

        def on_token(said: Said) -> None:
            nonlocal last
            last = said.token
            self.tokens += 1
            if last not in stop_ids:
                pending.append((writer.size, said))
            if text := writer.add(last):
                tell(text)

        def on_end(answer: Example | None) -> None:
            rest = writer.rest()  # the text that ends it may be in there
            tell(rest, "stop" if writer.is_over or (answer is not None and last in stop_ids) else "length")

        request.on_token, request.on_end = on_token, on_end
        request.is_over = lambda _: writer.is_over
        self.requests.append(request)

    def cancel(self) -> None:
        """End them after at most one more token each."""
        for request in self.requests:
            request.is_cancelled = True

    def close(self) -> None:
        """Nobody waits for them any more."""
        self.cancel()
        self._worker.asked.discard(self)

    async def __aiter__(self) -> AsyncIterator[Words]:
        going = len(self.requests)
        while going:
            words = await self._words.get()
            going -= words.finish is not None
            yield words

    def _tell(self, words: Words) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._words.put_nowait, words)
