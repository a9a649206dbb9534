"""Kill a command again and again, repeat it, and compare what is left with a run that nobody disturbed.

    python -m scripts.kill --kills 20 --seed 1
    python -m scripts.kill --command writers

The tiny recipe of the tests (`pipeline`), one of every stage in which models write data (`writers`), GRPO and PPO from short phases
(`online`) or a study on runs of its own (`study`) is killed with SIGKILL: kills are spread over its stages, every second one is aimed
into a save (when the hidden folder or file of one appears). At the end every file that the stages left, all models, metrics.jsonl,
results.json and findings must have the same SHA-256 as without kills, no stage and no piece that was complete may have been made again,
and nothing hidden may be left. Exit code 1 if anything differs.

PPO's critic is no result: it goes with the last checkpoint. It is compared by what metrics.jsonl says of it in each update, loss, error
and norm of its gradient to the last digit; its weights after the last update are compared by `killed_once` of tests/stages.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fork_server import ForkServer, Going
from tests.online import RECIPE as ONLINE_RECIPE, STAGES as ONLINE_STAGES, write_online
from tests.tiny import RECIPE, SIZES, write_tiny
from tests.writers import MACHINE, RECIPE as WRITERS_RECIPE, STAGES as WRITERS_STAGES, write_writers
from trivium.core.commit import MANIFEST, fingerprint, hash_file
from trivium.core.run import CHECKPOINTS, DONE, LOCK, METRICS, STARTED

POLL_S = 0.0005
STARTING_S = 0.6  # from the fork until a killed stage is at work again

Leftover = tuple[str, int]  # path and inode: one that a later process made anew is another one


@dataclass(frozen=True, slots=True)
class Command:
    """What is killed. write: makes the folder it is run in. run: its run folder there. findings: folders of a study's findings there."""

    write: Callable[[Path], object]
    arguments: tuple[str, ...]
    stages: tuple[str, ...]
    run: str = "run"
    findings: tuple[str, ...] = ()


def _words(options: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Options as they are written in a command line."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _words(value, f"{above}{name}.")
        else:
            yield f"{above}{name}={json.dumps(value)}"


def _write_people(folder: Path) -> None:
    """The tiny corpus with pronouns, which the study of gender changes."""
    write_tiny(folder)
    corpus = folder / "corpus.jsonl"
    corpus.write_text(corpus.read_text(encoding="utf-8").replace("The ", "He said that the "), encoding="utf-8")


_ROWS = {"depth": 1, "width": 32, "head_dim": 16, "seq_len": 33, "batch_tokens": 132, "micro_batch_rows": 4, "evaluate_rows": 16}
STUDY = {
    "machine": MACHINE, "save_every_s": 0.1, "prepare": {"sources": ["corpus.jsonl"], "heldout_share": 0.1},
    "tokenize": {"vocab_size": 300}, **{name: {**_ROWS, "context": 128, "steps": 60} for name in ("base", "swapped", "same")},
}  # fmt: skip
COMMANDS = {
    "pipeline": Command(write_tiny, ("run", RECIPE, "--out", "run", "--quiet"), tuple(SIZES["stages"])),
    "writers": Command(write_writers, ("run", WRITERS_RECIPE, "--out", "run", "--quiet"), tuple(WRITERS_STAGES)),
    "online": Command(write_online, ("run", ONLINE_RECIPE, "--out", "run", "--quiet"), tuple(ONLINE_STAGES)),
    "study": Command(
        _write_people, ("study", "gender", *_words(STUDY), "--out", "studies", "--quiet"),
        ("prepare", "tokenize", "base", "swapped", "same"), "studies/gender", ("studies/study-gender",),
    ),
}  # fmt: skip


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
    parser.add_argument("--command", choices=COMMANDS, default="pipeline")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        return campaign(Path(scratch), COMMANDS[chosen.command], kills=chosen.kills, seed=chosen.seed)


def campaign(scratch: Path, command: Command, *, kills: int, seed: int) -> int:
    """0 if a command that was killed `kills` times ends with the same content as one that was not, and did nothing twice."""
    with ForkServer(scratch / "streams", imports_torch=True) as server:
        straight, killed = scratch / "straight", scratch / "killed"
        for folder in (straight, killed):
            command.write(folder)
        started = time.monotonic()
        _finish(server, command, straight)
        say(f"uninterrupted: {time.monotonic() - started:.1f} s")
        seconds = {stage: _seconds(straight / command.run / stage) for stage in command.stages}
        landed, complete = 0, dict[Path, int]()
        for number, aim in enumerate(aims(kills, seconds, random.Random(seed)), start=1):
            landed += _kill_once(server, command, killed, aim, f"kill {number}/{kills}")
            complete = marks(killed / command.run) | complete
        _finish(server, command, killed)
    differences = list(compare(command, straight, killed))
    left = marks(killed / command.run)
    differences += [
        f"{path.relative_to(killed)}: was complete, and was made again" for path, when in complete.items() if left.get(path, when) != when
    ]
    for line in differences:
        say(f"DIFFERS: {line}")
    verdict = "DIFFERENT" if differences else "identical"
    say(
        f"{landed} kills, seed {seed}: {verdict}; {len(digests(command, straight))} files compared, {len(complete)} complete parts kept,"
        f" {time.monotonic() - started:.0f} s"
    )
    return int(bool(differences) or landed < kills)


def marks(run: Path) -> dict[Path, int]:
    """Of every stage and every piece of one that is complete, when it was."""
    found = (*run.glob(f"*/{DONE}"), *run.glob(f"*/{CHECKPOINTS}/**/piece-*/{MANIFEST}"))
    return {path: path.stat().st_mtime_ns for path in found}


def aims(kills: int, seconds: Mapping[str, float], draw: random.Random) -> Iterator[Aim]:
    """Kills in the order of the stages, spread evenly over them. seconds: that each stage takes."""
    stages = list(seconds)
    for number in range(kills):
        stage = stages[int((number + draw.random()) * len(stages) / kills)]
        is_save = number % 2 == 0
        longest = 0.006 if is_save else seconds[stage] + STARTING_S * (number % 4 == 3)
        yield Aim(stage, draw.randint(1, 3) if is_save else 0, draw.uniform(0, longest))


def _finish(server: ForkServer, command: Command, folder: Path) -> None:
    ended = server.run(command.arguments, folder)
    if ended.code:
        raise RuntimeError(f"the run ended with code {ended.code}: {ended.err}")


def _kill_once(server: ForkServer, command: Command, folder: Path, aim: Aim, label: str) -> bool:
    """Start the run, kill it where `aim` says, and tell what was on disk; False if it ended before."""
    run, stages = folder / command.run, command.stages
    old = set(leftovers(run))
    going = server.start(command.arguments, folder)
    _wait_for(going, run / (_unfinished(run, stages[stages.index(aim.stage) :]) or aim.stage), aim, old)
    going.signal(signal.SIGKILL)
    ended = going.wait()
    if ended.code != -signal.SIGKILL:
        say(f"{label}: aimed at {aim.stage}, but the run had ended with code {ended.code} {ended.err.strip()}")
        return False
    stage = _unfinished(run, stages) or "report"
    hidden = ", ".join(Path(name).relative_to(run).as_posix() for name, inode in leftovers(run) if (name, inode) not in old)
    steps = ", ".join(str(int(path.name.split("-")[1])) for path in sorted((run / stage / CHECKPOINTS).glob("step-*")))
    place = f"in a save: {hidden}" if hidden else "between saves"
    say(f"{label}: in {stage:<13} {place}{'; checkpoints at step ' + steps if steps else ''}")
    return True


def _unfinished(run: Path, stages: Sequence[str]) -> str | None:
    """The first of the stages that is not complete."""
    return next((name for name in stages if not (run / name / DONE).exists()), None)


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


def compare(command: Command, straight: Path, killed: Path) -> Iterator[str]:
    """What differs between what a command left in two folders."""
    expected, found = digests(command, straight), digests(command, killed)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            yield f"{name}: {expected.get(name, 'not there')[:16]} without kills, {found.get(name, 'not there')[:16]} with"
    yield from (f"{name}: is left over" for name, _ in leftovers(killed / command.run))


def digests(command: Command, folder: Path) -> dict[str, str]:
    """SHA-256 of metrics.jsonl, of results.json without its seconds, and of every file that stages and studies left, by name.

    The manifest of a finding is left out: it holds the hashes of the stages' marks, with their seconds.
    """
    run = folder / command.run
    rows = json.loads((run / "results.json").read_text())
    results = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
    found = {METRICS: hash_file(run / METRICS)[1], "results.json": fingerprint(results)}
    for place in (*(run / stage for stage in command.stages), *(folder / name for name in command.findings)):
        left_out = DONE if place.parent == run else MANIFEST
        files = (path for path in place.rglob("*") if path.is_file() and path.name != left_out)
        found |= {path.relative_to(folder).as_posix(): hash_file(path)[1] for path in files}
    return found


def _seconds(stage: Path) -> float:
    return json.loads((stage / DONE).read_text())["facts"]["seconds"]


def say(line: str) -> None:
    """One line, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
