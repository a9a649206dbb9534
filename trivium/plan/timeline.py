"""Reinforcement learning on many GPUs in virtual time: who waits for whom when sampling and training share GPUs, take turns, or overlap.

Rows of a sampler advance together, one token a step, whose time depends on how many they are and on what they have read (sampling.py);
answers have lognormal lengths. Left out: prompts' prefill, rewards, and groups that must be complete.
"""

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from math import log, sqrt

from trivium.core.seeds import generator
from trivium.plan.sampling import Replica

WARM_STEPS, STEPS = 3, 6  # of a stream, left out and measured


@dataclass(frozen=True, slots=True)
class Batch:
    """What an update learns from: answers of lognormal length, their mean and coefficient of variation before they are cut at longest.

    passes: forward passes besides the update, such as of a reference. prompt_tokens are read, not written.
    """

    answers: int
    mean_tokens: float
    variation: float
    longest: int
    prompt_tokens: float = 0.0
    passes: int = 0

    def lengths(self, number: int, seed: int) -> Sequence[int]:
        """Of so many answers, at least 1 each."""
        spread = sqrt(log(1 + self.variation**2))
        drawn = generator(seed, "lengths").lognormal(log(self.mean_tokens) - spread**2 / 2, spread, size=number)
        return drawn.clip(1, self.longest).astype(int).tolist()

    def train_gpu_seconds(self, weights: float, flops_per_s: float, seed: int = 1) -> float:
        """Of one GPU: 6 operations a weight and token, and 2 for each pass."""
        tokens = sum(self.lengths(self.answers, seed)) + self.answers * self.prompt_tokens
        return (6 + 2 * self.passes) * weights * tokens / flops_per_s


@dataclass(frozen=True, slots=True)
class Timeline:
    """seconds: of one update in the long run. idle: shares of their time that samplers and trainer wait. lag: updates between the weights
    that began an answer and those that learn from it, the mean and the most.
    """

    seconds: float
    idle_sampling: float
    idle_training: float
    mean_lag: float = 0.0
    most_lag: int = 0


@dataclass(slots=True)
class _Sampler:
    """Rows of one replica. counter: steps done; a row that began at step s with n tokens ends at s + n. token: of the newest event."""

    replica: Replica
    prompt: float
    time: float = 0.0
    counter: float = 0.0
    began: float = 0.0  # sum over rows
    ends: list[tuple[float, float, int]] = field(default_factory=list)  # heap of (end, begin, version)
    per_step: float = 0.0
    token: int = 0

    def start(self, length: int, version: int) -> None:
        heapq.heappush(self.ends, (self.counter + length, self.counter, version))
        self.began += self.counter

    def move(self, now: float) -> None:
        """To a time before the next end."""
        if self.ends and self.per_step:
            self.counter += (now - self.time) / self.per_step
        self.time = now

    def next_end(self) -> float:
        """When the next row ends; sets how long a step takes until then."""
        rows, steps = len(self.ends), self.ends[0][0] - self.counter
        context = self.prompt + self.counter - self.began / rows + steps / 2
        self.per_step = self.replica.seconds(rows, context)
        return self.time + steps * self.per_step

    def end(self, now: float) -> int:
        """Take out the row that ends now; the version it began with."""
        self.time = now
        self.counter, begin, version = heapq.heappop(self.ends)
        self.began -= begin
        return version


def batch_seconds(batch: Batch, replica: Replica, replicas: int, seed: int) -> float:
    """To answer one batch and nothing else: until the last answer of the slowest sampler has ended."""
    lengths, slowest = batch.lengths(batch.answers, seed), 0.0
    slots = replica.slots(batch.prompt_tokens + batch.mean_tokens)
    for number in range(replicas):
        waiting = deque(lengths[number::replicas])
        sampler, now = _Sampler(replica, batch.prompt_tokens), 0.0
        while waiting or sampler.ends:
            while waiting and len(sampler.ends) < slots:
                sampler.start(waiting.popleft(), 0)
            now = sampler.next_end()
            sampler.end(now)
        slowest = max(slowest, now)
    return slowest


def colocated(batch: Batch, replica: Replica, gpus: int, train_gpu_s: float, *, switch_s: float, seed: int = 1) -> Timeline:
    """All GPUs sample, then all train, with the weights of now. switch_s: between the two, there and back."""
    sampling, training = batch_seconds(batch, replica, gpus // replica.gpus, seed), train_gpu_s / gpus
    total = sampling + training + switch_s
    return Timeline(total, 1 - sampling / total, 1 - training / total)


def one_step_off(
    batch: Batch, replica: Replica, samplers: int, trainers: int, train_gpu_s: float, *, sync_s: float, seed: int = 1
) -> Timeline:
    """Samplers answer the next batch while the trainer learns from the last; both then wait for the new weights."""
    sampling, training = batch_seconds(batch, replica, samplers // replica.gpus, seed), train_gpu_s / trainers
    total = max(sampling, training) + sync_s
    return Timeline(total, 1 - sampling / total, 1 - training / total, 1.0, 1)


def asynchronous(
    batch: Batch, replica: Replica, samplers: int, trainers: int, train_gpu_s: float, *, sync_s: float, lag: int = 4, seed: int = 1
) -> Timeline:
    """Samplers never wait for a batch to end: a row that ends is given the next prompt, and new weights reach answers under way.

    lag: at most (lag + 1) batches are under way or wait for the trainer, so slow training holds sampling up instead of growing old data.
    """
    stream = _Stream(batch, replica, samplers // replica.gpus, train_gpu_s / trainers, sync_s, lag, seed)
    return stream.run()


class _Stream:
    """The state of `asynchronous`. Samplers live in a time that stands still while weights are sent: the wall's less `paused`."""

    def __init__(self, batch: Batch, replica: Replica, replicas: int, train_s: float, sync_s: float, lag: int, seed: int) -> None:
        self.batch, self.train_s, self.sync_s, self.version = batch, train_s, sync_s, 0
        self.samplers = [_Sampler(replica, batch.prompt_tokens) for _ in range(replicas)]
        self.slots, self.most = replica.slots(batch.prompt_tokens + batch.mean_tokens), (lag + 1) * batch.answers
        self.lengths, self.events, self.paused = _endless(batch, seed), list[tuple[float, int, int]](), 0.0
        self.ready, self.under_way = deque[int](), 0
        self.trained_until: float | None = None
        self.starts, self.lags = list[float](), list[int]()
        self.idle = 0.0  # of rows, that had no prompt

    def run(self) -> Timeline:
        self._fill(0.0)
        while len(self.starts) <= WARM_STEPS + STEPS:
            sampled = self.events[0][0] + self.paused if self.events else float("inf")
            if self.trained_until is not None and self.trained_until <= sampled:
                self._trained(self.trained_until)
            else:
                self._sampled()
        seconds = (self.starts[-1] - self.starts[WARM_STEPS]) / (len(self.starts) - 1 - WARM_STEPS)
        lags = self.lags[WARM_STEPS * self.batch.answers :]
        work = sum(self.batch.lengths(self.batch.answers, 1))
        full = len(self.samplers) * self.samplers[0].replica.tokens_per_s(self.slots, self.batch.prompt_tokens + self.batch.mean_tokens)
        return Timeline(
            seconds, max(0.0, 1 - work / full / seconds), 1 - self.train_s / seconds, sum(lags) / len(lags), max(lags)
        )  # fmt: skip

    def _sampled(self) -> None:
        now, number, token = heapq.heappop(self.events)
        sampler = self.samplers[number]
        if token != sampler.token:
            return
        self.ready.append(sampler.end(now))
        self.under_way -= 1
        self._consume(now + self.paused)
        self._fill(now, [number])

    def _trained(self, wall: float) -> None:
        self.version, self.trained_until = self.version + 1, None
        self.paused += self.sync_s
        self._consume(wall + self.sync_s)

    def _consume(self, wall: float) -> None:
        if self.trained_until is None and len(self.ready) >= self.batch.answers:
            self.starts.append(wall)
            self.lags += [self.version - self.ready.popleft() for _ in range(self.batch.answers)]
            self.trained_until = wall + self.train_s
            self._fill(wall - self.paused)

    def _fill(self, now: float, always: Sequence[int] = ()) -> None:
        """Start rows where there is room, the emptiest sampler first, and say again when the next row of those that changed ends."""
        changed = set(always)
        while self.under_way + len(self.ready) < self.most:
            number = min(range(len(self.samplers)), key=lambda each: len(self.samplers[each].ends))
            sampler = self.samplers[number]
            if len(sampler.ends) >= self.slots:
                break
            if number not in changed:
                sampler.move(now)
                changed.add(number)
            sampler.start(next(self.lengths), self.version)
            self.under_way += 1
        for number in changed:
            sampler = self.samplers[number]
            sampler.token += 1
            if sampler.ends:
                heapq.heappush(self.events, (sampler.next_end(), number, sampler.token))


def _endless(batch: Batch, seed: int) -> Iterator[int]:
    return chain.from_iterable(map(partial(batch.lengths, 4096), _count_from(seed)))


def _count_from(seed: int) -> Iterator[int]:
    while True:
        yield seed
        seed += 1
