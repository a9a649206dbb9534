"""Judging on all cores: batches go to processes of their own, what is found comes back in order, the same for any number of processes.

A process is a fresh interpreter that talks JSON lines. Not a fork: the parent may have threads. Not multiprocessing's spawn: it imports the
user's own script a second time. Short corpora are judged where they are, because starting takes as long as a few megabytes.
"""

import json
import os
import signal
import sys
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import numpy as np

from trivium.core.config import build, plain
from trivium.core.errors import RankError
from trivium.core.line_process import LineProcess, NoReplyError
from trivium.core.types import Document
from trivium.text.dedup.minhash import MinHash
from trivium.text.filters import Filter
from trivium.text.judge import Rule, Verdict, judge
from trivium.text.marks import Marks
from trivium.text.pii import Kind, Replacement

_BATCHES_HERE = 16  # about 4 MB
_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from trivium.text.workers import serve; serve(sys.argv[2])"


@dataclass(frozen=True, slots=True)
class Judged:
    """A batch, the verdict on each of its documents, and the marks of those that stay, in order; None if they were not asked for."""

    documents: list[Document]
    verdicts: list[Verdict]
    marks: Marks | None


@dataclass(frozen=True, slots=True)
class Task:
    """What is done to every batch. has_marks: whether digests are made; minhash: what makes signatures, or None."""

    filters: Sequence[Rule] = ()
    kinds: Sequence[Kind] = ()
    has_marks: bool = False
    minhash: MinHash | None = None

    def __call__(self, documents: list[Document]) -> Judged:
        """Do it for one batch."""
        verdicts = judge(documents, self.filters, self.kinds)
        if not self.has_marks:
            return Judged(documents, verdicts, None)
        pairs = zip(documents, verdicts, strict=True)
        texts = [document.text if verdict.text is None else verdict.text for document, verdict in pairs if verdict.reason is None]
        return Judged(documents, verdicts, Marks.of(texts, self.minhash))

    def to_json(self) -> str:
        """For `serve`; the filters must be those of a recipe."""
        minhash = asdict(self.minhash) if self.minhash else None
        return json.dumps({"filters": plain(list(self.filters)), "kinds": list(self.kinds), "marks": self.has_marks, "minhash": minhash})

    @staticmethod
    def of_json(text: str) -> "Task":
        """What `to_json` gave."""
        told = json.loads(text)
        minhash = MinHash(**told["minhash"]) if told["minhash"] else None
        return Task(build(tuple[Filter, ...], told["filters"]), told["kinds"], told["marks"], minhash)


class Judges:
    """Does a task for batches after batches; a context manager. Processes start with the 17th batch, and then stay.

    num_workers: processes; with more than one the filters must be those of a recipe. Raises RankError when one ends before its time.
    """

    def __init__(self, task: Task, num_workers: int = 1) -> None:
        self.task, self.num_workers, self._num_here = task, num_workers, 0
        self._workers: list[_Worker] = []
        self._idle: SimpleQueue[_Worker] = SimpleQueue()

    def __enter__(self) -> "Judges":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for worker in self._workers:
            worker.close()

    def __call__(self, batches: Iterable[list[Document]]) -> Iterator[Judged]:
        """Each batch with what was found, in order."""
        for batch in (rest := iter(batches)):
            if self.num_workers == 1 or self._num_here < _BATCHES_HERE:
                self._num_here += 1
                yield self.task(batch)
            else:  # now processes are worth starting
                yield from self._elsewhere(batch, rest)

    def _elsewhere(self, first: list[Document], rest: Iterator[list[Document]]) -> Iterator[Judged]:
        """At most two batches a process are under way, so memory stays bounded."""
        while len(self._workers) < self.num_workers:
            self._workers.append(_Worker(self.task.to_json()))
            self._idle.put(self._workers[-1])
        pending: deque[Future[Judged]] = deque()
        with ThreadPoolExecutor(self.num_workers) as threads:
            try:
                pending.append(threads.submit(self._ask, first))
                for batch in rest:
                    pending.append(threads.submit(self._ask, batch))
                    if len(pending) > 2 * self.num_workers:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for judged in pending:
                    judged.cancel()

    def _ask(self, batch: list[Document]) -> Judged:
        worker = self._idle.get()
        try:
            return worker.ask(batch)
        finally:
            self._idle.put(worker)


def serve(task: str) -> None:
    """The other side: a line of documents in, a line of what was found out, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's, which ends us
    do = Task.of_json(task)
    for line in sys.stdin:
        if not line.endswith("\n"):  # the parent died in the middle of a line
            return
        judged = do([Document(**fields) for fields in json.loads(line)])
        found = {"verdicts": [asdict(verdict) for verdict in judged.verdicts], "marks": _packed(judged.marks)}
        try:
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:  # it died while we judged; without Python's own end, which would write once more
            os._exit(1)


class _Worker:
    """A process that judges."""

    def __init__(self, task: str) -> None:
        self._process = LineProcess([sys.executable, "-c", _PROGRAM, json.dumps(sys.path), task])
        self.close = self._process.close

    def ask(self, batch: list[Document]) -> Judged:
        """What is found of a batch; fields that JSON does not know arrive there as text."""
        try:
            found = json.loads(self._process.ask(json.dumps([asdict(document) for document in batch], default=str)))
        except NoReplyError as error:
            raise RankError(
                f"a process that judges documents ended with code {error.code}; what it said is above, -9 is lack of memory"
            ) from None
        return Judged(batch, [_verdict(**fields) for fields in found["verdicts"]], _unpacked(found["marks"]))


def _verdict(reason: str | None, text: str | None, replaced: list[dict[str, str]]) -> Verdict:
    return Verdict(reason, text, tuple(Replacement(**fields) for fields in replaced))


def _packed(marks: Marks | None) -> list[Any] | None:
    if marks is None:
        return None
    arrays = (marks.digest_D, marks.signature_DK)
    return [[list(array.shape), b64encode(array.tobytes()).decode()] for array in arrays]


def _unpacked(packed: list[Any] | None) -> Marks | None:
    if packed is None:
        return None
    types = (np.uint8, np.uint32)
    return Marks(*(np.frombuffer(b64decode(data), kind).reshape(shape) for (shape, data), kind in zip(packed, types, strict=True)))
