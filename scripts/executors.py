"""python -m scripts.executors [local] [ray]: the executors of datatrove run our cleaning; the corpus must have the bytes of one process.

Needs datatrove in the environment (`pip install 'datatrove[processing]'`, and for ray `datatrove[ray]`); each is refused in one line if
it is not there.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from trivium.stages.parts import CleanPart
from trivium.stages.pipeline import execute
from trivium.stages.recipe import single
from trivium.text import cleaning

NUM_FILES, TASKS = 12, 5


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen executors; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.executors", description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("executors", nargs="*", default=["local"], choices=["local", "ray"])
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        options = {"sources": [str(write_corpus(folder / "raw"))], "near_dedup": 0.8, "heldout_share": 0.1}
        expected = corpus_of(options, folder / "alone")
        for name in chosen.executors:
            pieces = folder / f"pieces-{name}"
            step = CleanPart({**options, "pieces": str(pieces)}, num_workers=1, unit_bytes=cleaning.UNIT_BYTES)
            executor_of(name)(pipeline=[step], tasks=TASKS, logging_dir=str(folder / name)).run()
            made = len(list(pieces.glob("*/*/manifest.json")))
            same = corpus_of({**options, "pieces": str(pieces)}, folder / f"run-{name}") == expected
            print(f"{name}: {made} pieces by {TASKS} tasks, the corpus has {'the same bytes' if same else 'OTHER BYTES'}")
            if not made or not same:
                return 1
    return 0


def write_corpus(folder: Path) -> Path:
    """Files that are units of their own."""
    cleaning.UNIT_BYTES = 1000  # of this process; the tasks are told
    folder.mkdir()
    for number in range(NUM_FILES):
        texts = [f"text {number} {row} " + " ".join(f"word{row * place % 97}" for place in range(60)) for row in range(40)]
        rows = [{"text": text, "id": f"{number}-{row}"} for row, text in enumerate(texts)]
        (folder / f"{number:02d}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def corpus_of(options: dict[str, object], out: Path) -> list[bytes]:
    """The corpus that `prepare` leaves."""
    execute(single("prepare", options), out, quiet=True)
    return [(out / "prepare/corpus" / name).read_bytes() for name in ("train.jsonl.zst", "heldout.jsonl.zst")]


def executor_of(name: str) -> type:
    """The executor of datatrove with this name; ends the program if it is not installed."""
    try:
        from datatrove import executor

        return {"local": executor.LocalPipelineExecutor, "ray": executor.RayPipelineExecutor}[name]
    except ImportError as error:
        sys.exit(f"{name}: {error}; pip install 'datatrove[processing,ray]'")


if __name__ == "__main__":
    sys.exit(main())
