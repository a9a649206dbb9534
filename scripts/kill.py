"""Kill a whole pipeline again and again, repeat the same command, and compare what is left with a run that nobody disturbed.

    python -m scripts.kill --kills 20 --seed 1

The tiny recipe of the tests is killed with SIGKILL: kills are spread over its stages, every second one is aimed into a save (when the
hidden folder or file of one appears). At the end every file that the stages left, all models, metrics.jsonl and results.json
must have the same SHA-256 as without kills, and nothing hidden may be left. Exit code 1 if anything differs.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.fork_server import ForkServer, Going
from tests.tiny import RECIPE, SIZES, write_tiny
from trivium.core.commit import fingerprint, hash_file
from trivium.core.run import CHECKPOINTS, DONE, LOCK, METRICS, STARTED

STAGES = tuple(SIZES["stages"])
ARGUMENTS = ("run", RECIPE, "--out", "run", "--quiet")
POLL_S = 0.0005


STARTING_S = 0.6  # from the fork until a killed stage is at work again

Leftover = tuple[str, int]  # path and inode: one that a later process made anew is another one


@dataclass(frozen=True, slots=True)
class Aim:
    """Where one kill should land: `delay` seconds into a stage (into the start, if it was killed before), or into its save `save`."""

    stage: str
    save: int
    delay: float


def main() -> int:
    """Run, kill, compare; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        return campaign(Path(scratch), kills=chosen.kills, seed=chosen.seed)


def campaign(scratch: Path, *, kills: int, seed: int) -> int:
    """0 if a run that was killed `kills` times ends with the same content as one that was not."""
    with ForkServer(scratch / "streams", imports_torch=True) as server:
        straight, killed = scratch / "straight", scratch / "killed"
        for folder in (straight, killed):
            write_tiny(folder)
        started = time.monotonic()
        _finish(server, straight)
        say(f"uninterrupted: {time.monotonic() - started:.1f} s")
        seconds = {stage: _seconds(straight / "run" / stage) for stage in STAGES}
        landed = 0
        for number, aim in enumerate(aims(kills, seconds, random.Random(seed)), start=1):
            landed += _kill_once(server, killed, aim, f"kill {number}/{kills}")
        _finish(server, killed)
    differences = list(compare(straight / "run", killed / "run"))
    for line in differences:
        say(f"DIFFERS: {line}")
    verdict = "DIFFERENT" if differences else "identical"
    say(f"{landed} kills, seed {seed}: {verdict}; {len(digests(straight / 'run'))} files compared, {time.monotonic() - started:.0f} s")
    return int(bool(differences) or landed < kills)


def aims(kills: int, seconds: dict[str, float], draw: random.Random) -> Iterator[Aim]:
    """Kills in the order of the stages, spread evenly over them."""
    for number in range(kills):
        stage = STAGES[int((number + draw.random()) * len(STAGES) / kills)]
        is_save = number % 2 == 0
        longest = 0.006 if is_save else seconds[stage] + STARTING_S * (number % 4 == 3)
        yield Aim(stage, draw.randint(1, 3) if is_save else 0, draw.uniform(0, longest))


def _finish(server: ForkServer, folder: Path) -> None:
    ended = server.run(ARGUMENTS, folder)
    if ended.code:
        raise RuntimeError(f"the run ended with code {ended.code}: {ended.err}")


def _kill_once(server: ForkServer, folder: Path, aim: Aim, label: str) -> bool:
    """Start the run, kill it where `aim` says, and tell what was on disk; False if it ended before."""
    run = folder / "run"
    old = set(leftovers(run))
    going = server.start(ARGUMENTS, folder)
    _wait_for(going, run / (_unfinished(run, STAGES.index(aim.stage)) or aim.stage), aim, old)
    going.signal(signal.SIGKILL)
    ended = going.wait()
    if ended.code != -signal.SIGKILL:
        say(f"{label}: aimed at {aim.stage}, but the run had ended with code {ended.code} {ended.err.strip()}")
        return False
    stage = _unfinished(run) or "report"
    hidden = ", ".join(Path(name).relative_to(run).as_posix() for name, inode in leftovers(run) if (name, inode) not in old)
    steps = ", ".join(str(int(path.name.split("-")[1])) for path in sorted((run / stage / CHECKPOINTS).glob("step-*")))
    place = f"in a save: {hidden}" if hidden else "between saves"
    say(f"{label}: in {stage:<11} {place}{'; checkpoints at step ' + steps if steps else ''}")
    return True


def _unfinished(run: Path, first: int = 0) -> str | None:
    """The first stage, from number `first` on, that is not complete."""
    return next((name for name in STAGES[first:] if not (run / name / DONE).exists()), None)


def _wait_for(going: Going, stage: Path, aim: Aim, old: set[Leftover]) -> None:
    """Return when the moment of `aim` has come, or has been missed; `old` is what was left over before."""
    saves, was_saving, deadline = 0, False, None
    while not going.has_ended() and not (stage / DONE).exists():
        if deadline is None and (stage / STARTED).exists():
            is_saving = any(entry not in old for entry in leftovers(stage))
            saves += is_saving and not was_saving
            was_saving = is_saving
            if saves >= aim.save:
                deadline = time.monotonic() + aim.delay
        if deadline is not None and time.monotonic() >= deadline:
            return
        time.sleep(POLL_S)


def leftovers(folder: Path) -> Iterator[Leftover]:
    """Hidden folders and files of saves that are not complete."""
    for place in (folder, folder / CHECKPOINTS, *folder.glob("*/"), *folder.glob(f"*/{CHECKPOINTS}/")):
        with suppress(FileNotFoundError), os.scandir(place) as entries:
            yield from ((entry.path, entry.inode()) for entry in entries if entry.name.startswith(".") and entry.name != LOCK)


def compare(straight: Path, killed: Path) -> Iterator[str]:
    """What differs between two run folders."""
    expected, found = digests(straight), digests(killed)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            yield f"{name}: {expected.get(name, 'not there')[:16]} without kills, {found.get(name, 'not there')[:16]} with"
    yield from (f"{name}: is left over" for name, _ in leftovers(killed))


def digests(run: Path) -> dict[str, str]:
    """SHA-256 of metrics.jsonl, of results.json without its seconds, and of every file that a stage left, by name."""
    rows = json.loads((run / "results.json").read_text())
    results = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
    found = {METRICS: hash_file(run / METRICS)[1], "results.json": fingerprint(results)}
    for stage in STAGES:
        files = (path for path in (run / stage).rglob("*") if path.is_file() and path.name != DONE)
        found |= {path.relative_to(run).as_posix(): hash_file(path)[1] for path in files}
    return found


def _seconds(stage: Path) -> float:
    return json.loads((stage / DONE).read_text())["facts"]["seconds"]


def say(line: str) -> None:
    """One line, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
