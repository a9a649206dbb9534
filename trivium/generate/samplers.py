"""Copies of a policy elsewhere, and the one who asks them. No tensors: token ids go out, and come back with log-probs and weight versions.

In order, weights and batches reach the servers one after another, as they were given: each batch is drawn under the weights that were the
newest when it was submitted, whatever the time that things take, and a server that lags behind or makes something up is found out by the
number at its tokens. In flight, new weights do not wait for the requests in work, which go on under them: faster where answers differ in
length, and no longer repeatable. A request that failed is asked again with the same seed, elsewhere if there is an elsewhere.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal, Protocol

import numpy as np

from trivium.core.errors import DataError, EngineError
from trivium.core.types import Example
from trivium.generate.sampling import Sampling

MAX_ROUNDS = 5  # times that a batch is asked for, each time what is still missing
ROUNDING = 1e-3  # by which a log-prob may be above 0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0  # before a round; each is twice the one before


@dataclass(frozen=True, slots=True)
class Weights:
    """A committed model directory. version: updates of the policy, in phases. checksum: of the weights as the trainer has them."""

    version: int
    folder: Path
    checksum: str

    @property
    def label(self) -> str:
        """How servers call them: no other weights have this name, not those of the same number after a run went back either."""
        return f"{self.version}-{self.checksum[:16]}"


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts, token ids (L,) each, and what the random numbers of request i are to depend on: (seed, purpose, step, i)."""

    prompts: Sequence[np.ndarray]
    sampling: Sampling
    seed: int
    purpose: str
    step: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says: tokens, the log-prob of each under the distribution it was drawn from, and the version of its weights."""

    tokens: Sequence[int]
    logprobs: Sequence[float]
    versions: Sequence[int]
    finish: Literal["stop", "length"]


class Server(Protocol):
    """Something that holds weights and samples."""

    @property
    def name(self) -> str:
        """In what is said of it."""
        ...

    def load(self, weights: Weights, *, is_in_flight: bool) -> None:
        """Take these weights, all or none. Raises EngineError unless it confirms that it has them."""
        ...

    def sample(self, batch: Batch, numbers: Sequence[int]) -> list[Answer | str]:
        """For each of these requests of a batch its answer, or in a few words why there is none. May raise EngineError for all."""
        ...

    def close(self) -> None:
        """It is not needed any more."""
        ...


class Samplers:
    """The one who asks. ahead: batches that may be in work beside the one that is waited for, if weights are changed in flight."""

    def __init__(
        self, servers: Sequence[Server], *, stop_ids: Sequence[int], vocab_size: int, context: int, ahead: int = 0,
        is_in_flight: bool = False, log: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.servers, self.is_in_flight, self.log = servers, is_in_flight, log
        self._stop_ids, self._closing_id = frozenset(stop_ids), next(iter(stop_ids), None)
        self._vocab_size, self._context = vocab_size, context
        self._held: dict[str, Weights] = {}  # by server; those that are lost are missing
        self._reasons: dict[str, str] = {}  # why they are lost
        self._losses = Counter[str]()  # how often they were
        self._current: Weights | None = None
        self._is_closed = False
        self._has_loaded, self._loading = threading.Event(), _none_yet()
        self._batches: SimpleQueue[Any] = SimpleQueue()
        self._loads = SimpleQueue() if is_in_flight else self._batches
        self._lines = [self._batches] * (1 + ahead * is_in_flight) + [self._loads] * is_in_flight
        for line in self._lines:
            threading.Thread(target=_work, args=(line,), name="samplers", daemon=True).start()

    def publish(self, weights: Weights) -> None:
        """Let the servers take these weights: in order after what was submitted before, in flight at once."""
        self._loading = Future[None]()
        self._loads.put((partial(self._load, weights), self._loading))

    def submit(self, batch: Batch) -> "Future[list[Example]]":
        """Answers to come, in order: Examples as those of Engine.generate, with the column policy_step.

        They may raise EngineError: no server is left, or none gives what is asked for; and DataError for a prompt without room.
        """
        found: Future[list[Example]] = Future()
        self._batches.put((partial(self._sampled, batch, self._loading), found))
        return found

    def close(self) -> None:
        """End the servers that are ours, and the threads when they have done what they are at."""
        self._is_closed = True
        for line in self._lines:
            line.put(None)
        for server in self.servers:
            server.close()

    def _load(self, weights: Weights) -> None:
        self._current = weights
        try:
            _together([partial(self._try_load, server, weights) for server in self.servers])
        finally:
            self._has_loaded.set()

    def _try_load(self, server: Server, weights: Weights) -> None:
        was_lost = server.name in self._reasons
        try:
            server.load(weights, is_in_flight=self.is_in_flight)
        except EngineError as error:
            self._lose(server, f"does not take weights {weights.label}: {error}")
            return
        self._held[server.name] = weights
        self._reasons.pop(server.name, None)
        if was_lost:
            self.log(f"the sampler {server.name} is back, with weights {weights.label}")

    def _lose(self, server: Server, reason: str) -> None:
        self._held.pop(server.name, None)
        self._losses[server.name] += 1
        if self._reasons.get(server.name) != reason and not self._is_closed:
            self.log(f"the sampler {server.name} {reason}")
        self._reasons[server.name] = reason

    def _sampled(self, batch: Batch, loading: "Future[None]") -> list[Example]:
        self._has_loaded.wait()
        loading.result()  # of what was published before: in flight another thread loads it, and the lag would have no bound
        assert self._current is not None
        most = [self._room(number, prompt, batch.sampling) for number, prompt in enumerate(batch.prompts)]
        found: dict[int, Answer] = {}
        missing, reason = list(range(len(most))), ""
        for attempt in range(MAX_ROUNDS):
            if self._is_closed:
                break
            if attempt:
                time.sleep(min(FIRST_PAUSE_S * 2 ** (attempt - 1), LONGEST_PAUSE_S))
                lost = [server for server in self.servers if server.name not in self._held]
                _together([partial(self._try_load, server, self._current) for server in lost])
            if self._loading.done():
                self._loading.result()  # a defect there is raised here
            answers, reason = self._round(batch, missing, most, attempt)
            found |= answers
            missing = [number for number in missing if number not in found]
            if not missing:
                return [self._example(prompt, found[number]) for number, prompt in enumerate(batch.prompts)]
        reasons = "; ".join(f"{name} {why}" for name, why in self._reasons.items()) or reason
        raise EngineError(
            f"{len(missing):,} of {len(most):,} answers are missing after {MAX_ROUNDS} attempts: {reasons}."
            " See to the samplers; the same command goes on from the last checkpoint"
        )

    def _round(self, batch: Batch, missing: Sequence[int], most: Sequence[int], attempt: int) -> tuple[dict[int, Answer], str]:
        """What can be used of what the servers answer, each to its share of the requests; and why some of it cannot."""
        now, losses = dict(self._held), Counter(self._losses)  # in flight another batch may lose a server meanwhile
        there = [(server, now[server.name]) for server in self.servers if server.name in now]
        shares = [missing[(place + attempt) % len(there) :: len(there)] for place in range(len(there))]
        said = _together([partial(self._ask, server, batch, share) for (server, _), share in zip(there, shares, strict=True)])
        if self.is_in_flight:
            self._loading.exception()  # until they are taken: by halves, they have spoilt what was under way, which bears the old name
        found, reason = {}, ""
        for (server, held), share, answers in zip(there, shares, said, strict=True):
            if self._losses[server.name] > losses[server.name]:
                reason = "new weights failed under its answers"
                continue
            newest = self._current if self.is_in_flight and self._current is not None else held
            faults = [self._fault(each, most[number], held.version, newest.version) for number, each in zip(share, answers, strict=True)]
            found |= {number: each for number, each, fault in zip(share, answers, faults, strict=True) if not fault}
            reason = next(filter(None, faults), reason)
            if share and all(faults):
                self._lose(server, f"gives no answer that can be used: {faults[0]}")
        return found, reason

    def _room(self, number: int, prompt: np.ndarray, sampling: Sampling) -> int:
        if not 0 < len(prompt) < self._context:
            raise DataError(f"prompt {number} has {len(prompt):,} tokens; it needs 1 to {self._context - 1:,} to leave room for an answer")
        return min(sampling.max_new_tokens, self._context - len(prompt))

    def _ask(self, server: Server, batch: Batch, numbers: Sequence[int]) -> list[Answer | str]:
        if not numbers:
            return []
        try:
            return server.sample(batch, numbers)
        except EngineError as error:
            return [str(error)] * len(numbers)

    def _fault(self, answer: Answer | str, most: int, oldest: int, newest: int) -> str:
        """What is wrong with an answer under weights of these versions, "" if nothing is."""
        if isinstance(answer, str):
            return answer
        size, is_ended = len(answer.tokens), bool(answer.tokens) and answer.tokens[-1] in self._stop_ids
        if not 0 < size <= most:
            return f"an answer has {size:,} tokens, where 1 to {most:,} are expected"
        if len(answer.logprobs) != size or len(answer.versions) != size:
            return f"an answer of {size:,} tokens has {len(answer.logprobs):,} log-probs and {len(answer.versions):,} weight versions"
        if not all(math.isfinite(logprob) and logprob <= ROUNDING for logprob in answer.logprobs):
            return "an answer has log-probs that are not finite, or above 0"
        if not all(0 <= token < self._vocab_size for token in answer.tokens):
            return f"an answer has tokens that the vocabulary of {self._vocab_size:,} lacks"
        if not all(oldest <= version <= newest for version in answer.versions):
            return f"an answer comes from weights {sorted(set(answer.versions))}, where {oldest} to {newest} are expected"
        if is_ended != (answer.finish == "stop") or not (is_ended or size == most) or not self._stop_ids.isdisjoint(answer.tokens[:-1]):
            return f"an answer of {size:,} tokens ends as '{answer.finish}', but neither with what ends it nor for lack of room"
        return ""

    def _example(self, prompt: np.ndarray, answer: Answer) -> Example:
        size = len(prompt)
        tokens = np.concatenate([prompt, answer.tokens]).astype(np.int32)
        mask, logprobs, versions = (np.zeros(len(tokens), np.float32) for _ in range(3))
        mask[size:], logprobs[size:], versions[size:] = 1, answer.logprobs, answer.versions
        stopped = int(tokens[-1]) == self._closing_id
        return Example(tokens, mask, {"old_logprobs": logprobs, "policy_step": versions}, {"stopped": stopped, "prompt_length": size})


def _work(line: "SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None]") -> None:
    """Do what comes, one after the other."""
    while (item := line.get()) is not None:
        call, future = item
        try:
            future.set_result(call())
        except BaseException as error:  # raised where the result is asked for
            future.set_exception(error)


def _together(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """The results of calls that wait for others, at the same time; raises what one of them raised."""
    futures = [Future[Any]() for _ in calls]
    for call, future in zip(calls, futures, strict=True):
        line: SimpleQueue[Any] = SimpleQueue()
        line.put((call, future))
        line.put(None)
        threading.Thread(target=_work, args=(line,), name="sampler", daemon=True).start()
    return [future.result() for future in futures]


def _none_yet() -> "Future[None]":
    """What has nothing to wait for."""
    done: Future[None] = Future()
    done.set_result(None)
    return done
