"""A launcher for the ranks of one host that also watches them: if one ends, stops or hangs, all end, and one line says which and why.

Processes of this Python with torchrun's variables, so under torchrun the same command does the same without it. What is judged is
told apart from how it is measured: `fault` is a function of what was seen.
"""

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from trivium.core.errors import RankError, TriviumError
from trivium.core.heartbeat import read
from trivium.core.interrupt import KEPT, SIGNALS, Interrupted
from trivium.core.processes import of_process
from trivium.core.world import rank_environment

LOOK_EVERY_S = 0.2
SILENT_S, NEVER_S = 8.0, 120.0  # without a heartbeat, of a process that is stopped, and of any
IDLE_S = 8.0  # without work and without waiting for anybody, or all of them for each other
IDLE_CPU_S = 0.05  # seconds of a core that are no work: to say that it lives takes a rank a thousandth of one
AWAY_S = 2.0  # a gap in the launcher's own looks: it was stopped itself, with all the others
LEAVE_S = 3.0  # for a rank that has said how it ended to be gone
SETTLE_S = 0.7  # after a rank has failed, for the others to say how they end
AGAIN = "the others were ended; the same command goes on from the last checkpoint"


class ChildError(TriviumError):
    """A rank, or another process of ours, ended with an error of its own, which this is."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code


@dataclass(slots=True)
class Seen:
    """What the launcher knows of a rank. code: with which it ended. state: of the process, a letter of /proc."""

    code: int | None = None
    message: str = ""
    is_lost: bool = False
    state: str = ""
    silent_s: float = 0.0
    idle_s: float = 0.0
    waits: str = ""
    place: str = ""


@dataclass(slots=True)
class _Last:
    """Of a rank, when it was last found to live and to work, and what was seen then."""

    beat: int = 0
    cpu_s: float = 0.0
    lived: float = 0.0
    worked: float = 0.0
    ended: float | None = None  # that it said so


def fault(ranks: Sequence[Seen]) -> TriviumError | None:
    """Why all have to end now, if they have: the rank and the cause. A rank that only lost another one is no cause while there is one."""
    ended = [number for number, seen in enumerate(ranks) if seen.code]
    for number in sorted(ended, key=lambda number: (ranks[number].is_lost, number)):
        seen = ranks[number]
        if (seen.code or 0) < 0:
            return RankError(f"rank {number} was killed by {signal.Signals(-(seen.code or 0)).name}; {AGAIN}")
        if seen.message:
            alone = len(ended) == 1 or any(ranks[other].message != seen.message for other in ended)
            return ChildError(f"rank {number}: {seen.message}" if alone else seen.message, seen.code or 1)
        return RankError(f"rank {number} ended with code {seen.code} and did not say why; {AGAIN}")
    for number, seen in enumerate(ranks):
        if seen.code is None and seen.silent_s > (SILENT_S if seen.state == "T" else NEVER_S):
            why = "is stopped (SIGSTOP)" if seen.state == "T" else "does not get to run"
            return RankError(f"rank {number} {why}: nothing was heard of it for {seen.silent_s:.0f} s; {AGAIN}")
    for number, seen in enumerate(ranks):
        if seen.code is None and not seen.waits and seen.idle_s > IDLE_S and seen.state not in ("D", "T"):
            return RankError(
                f"rank {number} hangs in {seen.place or 'code that is not ours'}: for {seen.idle_s:.0f} s it did nothing; {AGAIN}"
            )
    if all(seen.code is None and seen.waits == "peers" and seen.idle_s > IDLE_S and seen.state != "T" for seen in ranks):
        places = ", ".join(f"rank {number} in {seen.place or 'code that is not ours'}" for number, seen in enumerate(ranks))
        return RankError(f"all ranks wait for each other, {places}; {AGAIN}")
    return None


def launch(words: Sequence[str], size: int) -> None:
    """Run `trivium WORDS` as `size` ranks on this host until all have ended well.

    SIGINT, SIGTERM and SIGUSR1 are handed on: the ranks agree on a step, save and stop. Raises what ended a rank, RankError if that was
    from outside; by then no rank runs any more.
    """
    with tempfile.TemporaryDirectory(prefix="trivium-ranks-") as scratch:
        ranks = _Ranks([sys.executable, "-m", "trivium.cli", *words], size, Path(scratch))
        old = {number: signal.signal(number, ranks.hand_on) for number in SIGNALS}
        try:
            error = ranks.watch()
        finally:
            ranks.end()
            for number, handler in old.items():
                signal.signal(number, handler)
    if error is not None:
        raise error


class _Ranks:
    """The processes, and what is known of them."""

    def __init__(self, command: Sequence[str], size: int, folder: Path) -> None:
        self.folder, port = folder, _free_port()
        self.processes = [
            subprocess.Popen(
                command, env=rank_environment(rank, size, port=port, folder=folder), stdin=subprocess.DEVNULL,
                stdout=None if rank == 0 else subprocess.DEVNULL, process_group=0,
            )
            for rank in range(size)
        ]  # fmt: skip
        self.looked, self.told = time.monotonic(), 0  # the signal that was handed on
        self.seen = [Seen() for _ in self.processes]
        self.last = [_Last(lived=self.looked, worked=self.looked) for _ in self.processes]

    def hand_on(self, number: int, frame: FrameType | None) -> None:
        self.told = number
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(number)

    def watch(self) -> TriviumError | None:
        """None when all have ended well, else why they have to end."""
        while any(process.poll() is None for process in self.processes):
            time.sleep(LOOK_EVERY_S)
            self._look()
            if fault(self.seen) is not None:
                time.sleep(SETTLE_S)
                break
        self._look(leave_s=0.0)
        if self.told and any(seen.code == -self.told for seen in self.seen):  # before it could listen
            return Interrupted(self.told, KEPT)
        return fault(self.seen)

    def end(self) -> None:
        """No rank runs after this, nor what one that failed has started; a process that was stopped dies of SIGKILL too."""
        for process in self.processes:
            if process.poll() != 0:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        for process in self.processes:
            process.wait()

    def _look(self, leave_s: float = LEAVE_S) -> None:
        """leave_s: how long a rank that has said how it ended may take to be gone."""
        now = time.monotonic()
        was_away, self.looked = now - self.looked > AWAY_S, now
        for rank, (process, seen, last) in enumerate(zip(self.processes, self.seen, self.last, strict=True)):
            seen.code, (seen.state, cpu_s) = process.poll(), of_process(process.pid)
            end, beat = read(self.folder, f"end-{rank}.json"), read(self.folder, f"beat-{rank}.json")
            last.ended = last.ended or (now if end else None)
            if seen.code is None and last.ended is not None and now - last.ended >= leave_s:
                seen.code = int(end["code"])
            if seen.code is not None:
                seen.message, seen.is_lost = str(end.get("message", "")), bool(end.get("is_lost"))
                continue
            if was_away or beat.get("number", 0) > last.beat:
                last.beat, last.lived = beat.get("number", 0), now
            cpu_s = max(cpu_s, beat.get("cpu_s", 0.0))  # a long call may let no other thread run, also not the one that says so
            if was_away or not beat or cpu_s - last.cpu_s > IDLE_CPU_S:
                last.cpu_s, last.worked = cpu_s, now
            seen.waits, seen.place = beat.get("waits", ""), beat.get("place", "")
            seen.silent_s, seen.idle_s = now - last.lived, now - last.worked


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def lines(words: Sequence[str], size: int) -> tuple[str, str]:
    """The same for torchrun, and for Slurm, which starts again what it preempted, and warns two minutes before a job's time is up.

    A run that was warned saves and ends, which Slurm takes for a failure: the job puts itself back into the queue.
    """
    command = shlex.join(words)
    torchrun = f"torchrun --standalone --nproc-per-node {size} -m trivium.cli {command}"
    again = f"srun trivium {command}; code=$?; [ $code = {128 + signal.SIGUSR1} ] && scontrol requeue $SLURM_JOB_ID; exit $code"
    return torchrun, f"sbatch --nodes 1 --ntasks 1 --gpus-per-node {size} --signal USR1@120 --requeue --wrap {shlex.quote(again)}"
