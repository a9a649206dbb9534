"""Runs that need nothing of each other, side by side: each in a process of its own, with its share of the cores of a CPU.

A model of a few layers leaves two cores waiting for each other; two runs of a thread each are 1.4 times as fast as one after the other
on both. On a GPU, on one core and for one run they are made one after another, here. Left out: runs that take cores from each
other by turns; the last run keeps its share.
"""

from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from trivium.core.errors import TriviumError
from trivium.core.interrupt import Interrupted
from trivium.core.progress import Progress
from trivium.core.world import memory_bytes, num_cores, world
from trivium.stages.machine import Machine
from trivium.stages.pipeline import execute
from trivium.stages.planning.jobs import jobs_of
from trivium.stages.planning.plan import seconds
from trivium.stages.recipe import Recipe
from trivium.studies.run_process import RunProcess

LOOK_EVERY_S, SAVE_S = 1.0, 30.0  # SAVE_S: for runs that were asked to save and stop
MEMORY_SHARE = 0.75  # of the machine, for what runs are planned to hold; the rest is for torch in every process, and for others
_YARDSTICK = Machine(device="cpu", threads=1, precision="bfloat16", ceiling=1e11, kernels="native", products="int8")
Ended = tuple[Path, Exception | None]  # the folder of a run, and what it failed with


def made(runs: Mapping[Path, Recipe], *, quiet: bool) -> Generator[Ended, None, None]:
    """Make each run in its folder; yields a folder as soon as its run has ended, and what it failed with, if it did.

    To be closed: runs that are under way then save and stop. Raises Interrupted where a run was.
    """
    workers = _num_workers(runs)
    if workers > 1:
        yield from _Pool([_expected(*run) for run in runs.items()], workers, quiet).ended()
        return
    for folder, recipe in runs.items():
        yield folder, _made_here(recipe, folder, quiet)


def _made_here(recipe: Recipe, folder: Path, quiet: bool) -> Exception | None:
    try:
        execute(recipe, folder, quiet=quiet)
    except Interrupted:
        raise
    except Exception as error:  # also a defect of ours in one run must not cost the others; who asked for it raises it
        return error
    return None


def _num_workers(runs: Mapping[Path, Recipe]) -> int:
    """How many at a time. It depends on all of them, not on those that are left: so a command that is repeated gives each as many cores."""
    machines = [recipe.machine for recipe in runs.values()]
    workers = min(len(runs), num_cores() // max([1, *(machine.threads for machine in machines)]))
    if workers < 2 or world().size > 1:
        return 1
    return workers if all(machine.device in ("auto", "cpu") and machine.place() == "cpu" for machine in machines) else 1


@dataclass(frozen=True, slots=True)
class _Run:
    """One that is to be made. seconds: planned, on a machine that is there only to compare; infinite where nothing can be foreseen."""

    folder: Path
    recipe: Recipe
    seconds: float
    memory_bytes: float


def _expected(folder: Path, recipe: Recipe) -> _Run:
    """What cannot be foreseen is tried first."""
    try:
        jobs = jobs_of(replace(recipe, machine=_YARDSTICK), compute_bytes=4)
    except (TriviumError, OSError):
        return _Run(folder, recipe, float("inf"), 0.0)
    times = [seconds(job.work, _YARDSTICK, is_pretraining=job.stage.kind == "pretrain") for job in jobs]
    return _Run(folder, recipe, sum(times), max(job.work.memory_bytes for job in jobs))


def _planned(runs: Iterable[_Run]) -> float:
    return sum(run.seconds for run in runs if run.seconds < float("inf"))


class _Pool:
    """The processes, and the runs that wait or are under way, the longest first."""

    def __init__(self, runs: list[_Run], workers: int, quiet: bool) -> None:
        self.waiting, self.total, self.planned = sorted(runs, key=lambda run: run.seconds, reverse=True), len(runs), _planned(runs)
        self.workers = [RunProcess(threads=max(1, num_cores() // workers)) for _ in range(workers)]
        self.idle = list(self.workers)
        self.working: dict[Future[Exception | None], tuple[_Run, RunProcess]] = {}
        self.quiet, self.room = quiet, MEMORY_SHARE * memory_bytes()

    def ended(self) -> Generator[Ended, None, None]:
        """See `made`. The next runs begin before it is told that one has ended, since who hears it may compute for a while."""
        ended: list[Ended] = []
        with ThreadPoolExecutor(len(self.workers)) as threads, Progress("runs", round(self.planned), quiet=self.quiet) as progress:
            try:
                while self.waiting or self.working or ended:
                    while self.idle and (run := self.next_run()) is not None:
                        self.begin(run, threads)
                    self.show(progress)
                    yield from ended
                    finished, _ = wait(self.working, LOOK_EVERY_S, FIRST_COMPLETED)
                    ended = [self.end(future) for future in finished]
            finally:
                self.stop()

    def show(self, progress: Progress) -> None:
        """In planned seconds, since one run takes ten times as long as another."""
        working = [run for run, _ in self.working.values()]
        left = [*self.waiting, *working]
        names = ", ".join(run.folder.name for run in working)
        progress.update(round(self.planned - _planned(left)), f"{self.total - len(left)} of {self.total} runs; {names}")

    def next_run(self) -> _Run | None:
        """The longest that fits into the memory that the others leave; one alone may try."""
        left = self.room - sum(run.memory_bytes for run, _ in self.working.values())
        return next((run for run in self.waiting if run.memory_bytes <= left or not self.working), None)

    def begin(self, run: _Run, threads: ThreadPoolExecutor) -> None:
        """Give it to a process."""
        self.waiting.remove(run)
        worker = self.idle.pop()
        worker.start()  # here, not in the thread: who stops all of them must know it
        self.working[threads.submit(worker.make, run.recipe, run.folder)] = run, worker

    def end(self, future: "Future[Exception | None]") -> Ended:
        """Raises Interrupted."""
        run, worker = self.working.pop(future)
        worker.close()  # what it holds of the system's memory, 5 GB after some runs, goes with it
        self.idle.append(worker)
        return run.folder, future.result()

    def stop(self) -> None:
        """No process runs after this; those with a run may save before, unless we are interrupted again."""
        try:
            for worker in self.workers:
                worker.interrupt()
            wait(self.working, SAVE_S)
        finally:
            for worker in self.workers:
                worker.close()
