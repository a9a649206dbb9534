"""Judging on all cores: batches go to processes of their own, verdicts come back in order, the same for any number of processes.

A process is a fresh interpreter that talks JSON lines. Not a fork: the parent may have threads. Not multiprocessing's spawn: it imports the
user's own script a second time. Short corpora are judged where they are, because starting takes as long as a few megabytes.
"""

import json
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from queue import SimpleQueue

from trivium.core.config import build, plain
from trivium.core.errors import RankError
from trivium.core.types import Document
from trivium.text.filters import Filter
from trivium.text.judge import Rule, Verdict, judge
from trivium.text.pii import Kind, Replacement

Judged = tuple[list[Document], list[Verdict]]
_BATCHES_HERE = 16  # about 4 MB
_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from trivium.text.workers import serve; serve(sys.argv[2])"


def judge_all(
    batches: Iterable[list[Document]], filters: Sequence[Rule], kinds: Sequence[Kind], *, num_workers: int = 1
) -> Iterator[Judged]:
    """Each batch with its verdicts, in order. num_workers: processes; with more than one the filters must be those of a recipe.

    Raises RankError when a process ends before its time.
    """
    rest = iter(batches)
    here = rest if num_workers == 1 else islice(rest, _BATCHES_HERE)
    for batch in here:
        yield batch, judge(batch, filters, kinds)
    for batch in rest:  # at least one more: now processes are worth starting
        yield from _elsewhere(batch, rest, json.dumps({"filters": plain(list(filters)), "kinds": list(kinds)}), num_workers)


def serve(task: str) -> None:
    """The other side: a line of documents in, a line of verdicts out, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's, which ends us
    told = json.loads(task)
    filters = build(tuple[Filter, ...], told["filters"])
    for line in sys.stdin:
        documents = [Document(**fields) for fields in json.loads(line)]
        sys.stdout.write(json.dumps([asdict(verdict) for verdict in judge(documents, filters, told["kinds"])]) + "\n")
        sys.stdout.flush()


class _Worker:
    """A process that judges."""

    def __init__(self, task: str) -> None:
        program = [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), task]
        self._process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout

    def ask(self, batch: Sequence[Document]) -> list[Verdict]:
        """The verdicts on a batch; fields that JSON does not know arrive there as text."""
        try:
            self._requests.write(json.dumps([asdict(document) for document in batch], default=str) + "\n")
            self._requests.flush()
            line = self._answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            raise RankError(f"a process that judges documents ended with code {code}; what it said is above, -9 is lack of memory")
        return [_verdict(**fields) for fields in json.loads(line)]

    def close(self) -> None:
        """End it; it has nothing to lose."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._answers):
            with suppress(BrokenPipeError):
                pipe.close()


def _elsewhere(first: list[Document], rest: Iterator[list[Document]], task: str, num_workers: int) -> Iterator[Judged]:
    """At most two batches a process are under way, so memory stays bounded."""
    workers = [_Worker(task) for _ in range(num_workers)]
    idle: SimpleQueue[_Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def ask(batch: list[Document]) -> list[Verdict]:
        worker = idle.get()
        try:
            return worker.ask(batch)
        finally:
            idle.put(worker)

    pending: deque[tuple[list[Document], Future[list[Verdict]]]] = deque()
    with ThreadPoolExecutor(num_workers) as threads:
        try:
            pending.append((first, threads.submit(ask, first)))
            for batch in rest:
                pending.append((batch, threads.submit(ask, batch)))
                if len(pending) > 2 * num_workers:
                    judged, verdicts = pending.popleft()
                    yield judged, verdicts.result()
            while pending:
                judged, verdicts = pending.popleft()
                yield judged, verdicts.result()
        finally:
            for _, verdicts in pending:
                verdicts.cancel()
            for worker in workers:
                worker.close()


def _verdict(reason: str | None, text: str | None, replaced: list[dict[str, str]]) -> Verdict:
    return Verdict(reason, text, tuple(Replacement(**fields) for fields in replaced))
