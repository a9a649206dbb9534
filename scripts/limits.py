"""python -m scripts.limits: `trivium prepare` on corpora that break pipelines, under a limit of memory; time and memory of each.

large: documents of all sizes, with duplicates, until there are so many gigabytes. line: one document of a gigabyte on one line,
which is left out and counted. empty: ten million documents without text. word: a word of a million letters, ten times. Every
process of the run may have 2 GiB of memory of its own (RLIMIT_DATA); what is mapped from files is the system's to take back, and
is not counted.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

LIMIT_BYTES = 2 << 30
OPTIONS = ["near_dedup=0.8", "unreadable=skip"]
FILTERS = 'filters=[{kind = "gopher_repetition"}, {kind = "fineweb"}]'  # they would leave nothing of the others


def large(gigabytes: float) -> Iterator[str]:
    """Texts of words drawn from 30,000, a tenth of them copies and a tenth copies with a change."""
    draw = np.random.default_rng(1)
    words = np.array(
        ["".join(chr(97 + letter) for letter in draw.integers(0, 26, draw.integers(2, 11))) for _ in range(30_000)], dtype=object
    )
    size, kept = 0.0, ["a first text"]
    while size < gigabytes * 1e9:
        chance = draw.random()
        if chance < 0.2:
            text = ("Changed. " if chance < 0.1 else "") + kept[draw.integers(len(kept))]
        else:
            drawn = words[(draw.random(min(int(draw.lognormal(5.5, 1.0)) + 5, 100_000)) ** 3 * 30_000).astype(int)]
            text = ". ".join(" ".join(drawn[start : start + 12]) for start in range(0, len(drawn), 12)) + "."
            if len(kept) < 10_000:
                kept.append(text)
        size += len(text) + 13
        yield json.dumps({"text": text})


def line(gigabytes: float) -> Iterator[str]:
    """Two documents, and between them one that is a single line."""
    yield json.dumps({"text": "before it. " * 20})
    yield '{"text": "' + "a long line " * int(gigabytes * 1e9 / 12) + '"}'
    yield json.dumps({"text": "after it. " * 20})


def empty(millions: float) -> Iterator[str]:
    """Documents without text, and two with."""
    for number in range(int(millions * 1e6)):
        yield '{"text": ""}' if number % 1_000_000 != 5 else json.dumps({"text": f"text number {number}"})
    yield '{"text": "the last one"}'


def word(millions: float) -> Iterator[str]:
    """Documents of one long word."""
    for number in range(10):
        yield json.dumps({"text": "abcdefghij"[number] * int(millions * 1e6)})


CORPORA: dict[str, tuple[Callable[[float], Iterator[str]], float]] = {
    "large": (large, 5.0),
    "line": (line, 1.0),
    "empty": (empty, 10.0),
    "word": (word, 1.0),
}


def run(name: str, amount: float, folder: Path, more: list[str]) -> str:
    """Make the corpus, run `prepare` on it, and say in a line what it took. Raises CalledProcessError if it fails."""
    file = folder / f"{name}.jsonl"
    with file.open("w") as out:
        out.writelines(f"{row}\n" for row in CORPORA[name][0](amount))
    options = [f"sources={file}", *OPTIONS, *([FILTERS] * (name == "large")), *more]
    command = [sys.executable, "-m", "trivium.cli", "prepare", *options, "--out", str(folder / f"run-{name}")]
    began, peak = time.monotonic(), 0
    process = subprocess.Popen(command, preexec_fn=_limit, stdout=subprocess.DEVNULL)  # noqa: PLW1509 (one thread here)
    while process.poll() is None:
        peak = max([peak, *map(_own_memory, _family(process.pid))])
        time.sleep(0.2)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    seconds, size = time.monotonic() - began, file.stat().st_size
    funnel = json.loads((folder / f"run-{name}/prepare/funnel.json").read_text())
    counts = f"{funnel['kept']['documents']:,} of {funnel['read']['documents']:,} documents kept"
    speed = f"{size / 1e9:.2f} GB in {seconds:.0f} s ({size / 1e6 / seconds:.1f} MB/s)"
    return f"{name}: {speed}, at most {peak / 2**30:.2f} GiB a process, {counts}"


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES))


def _family(pid: int) -> list[int]:
    """A process and its children."""
    found = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _family(int(child))
    except OSError:
        pass
    return found


def _own_memory(pid: int) -> int:
    """Bytes that a process holds and no file backs."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(text.split()[1]) * 1024 for text in lines if text.startswith("RssAnon:")), 0)


def main(arguments: list[str] | None = None) -> None:
    """Run the chosen corpora."""
    parser = argparse.ArgumentParser(prog="python -m scripts.limits", description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("corpora", nargs="*", default=list(CORPORA), help=f"of: {', '.join(CORPORA)}")
    parser.add_argument("--scale", type=float, default=1.0, help="of the amounts: 5 GB, 1 GB, 10 million, 1 million")
    parser.add_argument("--options", nargs="*", default=[], help="more options of prepare")
    chosen = parser.parse_args(arguments)
    for name in chosen.corpora:
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
            print(run(name, CORPORA[name][1] * chosen.scale, Path(folder), chosen.options), flush=True)


if __name__ == "__main__":
    main()
