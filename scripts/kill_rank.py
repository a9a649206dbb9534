"""Kill one rank of a run at twelve points, one after the other: each time all are out, and the same command goes on.

    python -m scripts.kill_rank

The tiny recipe of the tests on two ranks. At a call of one of our functions, which comes later in the run from point to point, one of them
dies of SIGKILL (scripts/planted.py). Each time all ranks must be gone within 15 s, with the rank and the cause in one line; at the end
every file must have the SHA-256 of a run that nothing happened to. Exit code 1 if anything is otherwise.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from scripts.kill import COMMANDS, Command, compare, digests, say
from tests.fork_server import ROOT, ForkServer, Going

LIMIT_S = 15.0
COMMAND = COMMANDS["pipeline"]
RANKS = ("--ranks", "2")
POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Point:
    """Where a rank dies: see `plant`."""

    what: str
    rank: int
    module: str
    name: str
    call: int = 1
    is_after: bool = False


POINTS = (
    Point("before the ranks have met", 1, "trivium.train.ranks", "joined"),
    Point("while rank 0 writes token shards and the other waits", 0, "trivium.stages.tokenize", "write_shard"),
    Point("before the weights are spread", 1, "trivium.train.spread", "shard"),
    Point("while held-out text is read", 1, "trivium.evals.bits_per_byte", "BitsPerByte.__call__"),
    Point("between the backward pass of an update and its norm", 1, "trivium.train.trainer", "Trainer._clip", call=5),
    Point("before it writes its part of a checkpoint", 1, "trivium.train.checkpoint", "write"),
    Point("between its part and the handing over", 1, "trivium.train.checkpoint", "write", call=2, is_after=True),
    Point("between all parts and the manifest", 0, "trivium.core.commit", "_hash_and_sync"),
    Point("between a checkpoint and the end of an older one", 0, "trivium.train.checkpoint", "discard"),
    Point("while answers are sampled", 1, "trivium.generate.engine", "Engine.generate", call=2),
    Point("between a stage and its mark", 0, "trivium.core.run", "Run.finish"),
    Point("before the report, the other waits", 0, "trivium.stages.pipeline", "write_report"),
)


def main() -> int:
    """Run, kill, compare; the exit code."""
    with tempfile.TemporaryDirectory() as scratch:
        return campaign(Path(scratch), COMMAND, POINTS)


def campaign(scratch: Path, command: Command, points: Sequence[Point]) -> int:
    """0 if a run whose ranks were killed at all these points ends with the content of one that nothing happened to."""
    with ForkServer(scratch / "streams", imports_torch=False) as server:
        straight, killed = scratch / "straight", scratch / "killed"
        for folder in (straight, killed):
            command.write(folder)
        _finish(server, command, straight)
        wrong = [line for number, point in enumerate(points) for line in kill_once(server, command, killed, point, scratch / str(number))]
        _finish(server, command, killed)
    wrong += compare(command, straight, killed)
    for line in wrong:
        say(f"WRONG: {line}")
    say(f"{len(points)} points: {'wrong' if wrong else 'identical'}; {len(digests(command, straight))} files compared")
    return int(bool(wrong))


def kill_once(server: ForkServer, command: Command, folder: Path, point: Point, place: Path) -> list[str]:
    """Run until the rank dies at the point; what is wrong then, in lines. place: a new folder, for what is planted."""
    told, pids = place / "told", set[int]()
    going = server.start([*command.arguments, *RANKS], folder, environment=planted(point, place))
    while not going.has_ended() and not (told.exists() and time.time() - died(told) > LIMIT_S):
        pids |= children(going)
        time.sleep(POLL_S)
    is_late, seconds = not going.has_ended(), time.time() - died(told)
    if is_late:
        going.signal(9)
    ended = going.wait()
    last = (ended.err.strip().splitlines() or [""])[-1]
    if not told.exists():
        return [f"{point.what}: the run ended with code {ended.code} before that: {last}"]
    say(f"{point.what}: all out after {seconds:.1f} s: {last}")
    cause = f"rank {point.rank} was killed by SIGKILL"
    return [f"{point.what}: {why}" for why, is_so in {
        f"the ranks were still there after {LIMIT_S:g} s": is_late,
        f"exit code {ended.code}, not 8": ended.code != 8,
        f"the last line does not say that {cause}, but: {last}": cause not in last,
        "a rank is left over": any(Path(f"/proc/{pid}").exists() for pid in pids),
    }.items() if is_so]  # fmt: skip


def planted(point: Point, place: Path) -> dict[str, str]:
    """The environment in which a rank dies at a point; told: `place/told`."""
    place.mkdir()
    words = (str(place / "told"), point.module, point.name, point.call, point.is_after)
    (place / "sitecustomize.py").write_text(
        f"import os\nif os.environ.get('RANK') == '{point.rank}':\n    from pathlib import Path\n    from scripts.planted import plant\n"
        f"    plant(Path({words[0]!r}), *{words[1:]!r})\n"
    )
    return {"PYTHONPATH": os.pathsep.join([str(place), str(ROOT)])}


def died(told: Path) -> float:
    """When, by the clock of all processes; now if it has not yet."""
    try:
        return float(told.read_text())
    except (FileNotFoundError, ValueError):
        return time.time()


def children(launcher: Going) -> set[int]:
    """The processes that it has started and not seen the end of."""
    with suppress(FileNotFoundError):
        return set(map(int, Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()))
    return set()


def _finish(server: ForkServer, command: Command, folder: Path) -> None:
    ended = server.run([*command.arguments, *RANKS], folder, environment={"PYTHONPATH": str(ROOT)})
    if ended.code:
        raise RuntimeError(f"the run ended with code {ended.code}: {ended.err}")


if __name__ == "__main__":
    sys.exit(main())
