"""Long work on many prompts, piece by piece on disk: a stage that was killed goes on after its last piece, and memory does not grow.

A piece is committed, below the stage's checkpoints, when it is whole. What is in it must depend on nothing but the run's seed, the stage's
options and the number of the prompt.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from trivium.core.commit import commit, verify
from trivium.core.errors import ArtefactError
from trivium.core.run import CHECKPOINTS, Run
from trivium.text.write import write_jsonl

T = TypeVar("T")
Make = Callable[[int, Sequence[T], Callable[[int], None]], Iterable[Mapping[str, Any]]]
FILE = "answers.jsonl"


@dataclass(frozen=True, slots=True)
class Pieces:
    """What was made: rows, in the order of the prompts."""

    folder: Path
    count: int

    def __call__(self) -> Iterator[dict[str, Any]]:
        """The rows, read again each time."""
        for number in range(self.count):
            with (piece(self.folder, number) / FILE).open(encoding="utf-8") as file:
                yield from map(json.loads, file)


def piece(folder: Path, number: int) -> Path:
    """Where a piece is."""
    return folder / f"piece-{number:06}"


def in_pieces(run: Run, items: Iterable[T], make: Make[T], *, total: int, size: int, kind: str, steps: int = 1) -> Pieces:
    """Make rows of `total` items, `size` of them a piece, from the first piece that is not there yet.

    make: (number of the first item, items, progress) -> rows; it tells progress how much of steps x items is done. kind: of the pieces.
    """
    pieces, stream = Pieces(run.folder / CHECKPOINTS, -(-total // size)), iter(items)
    with run.progress(total * steps) as progress:
        for number in range(pieces.count):
            first, part, place = number * size, list(islice(stream, size)), piece(pieces.folder, number)
            if is_there(run, place, kind):
                progress.start_at((first + len(part)) * steps)
                continue
            rows = make(first, part, lambda done, before=first * steps: progress.update(before + done))

            def write(folder: Path, rows: Iterable[Mapping[str, Any]] = rows) -> None:
                write_jsonl(folder / FILE, rows)

            commit(place, write, kind=kind)
    return pieces


def is_there(run: Run, place: Path, kind: str) -> bool:
    """Whether a piece of this kind was committed and is whole; a damaged one is named."""
    try:
        verify(place, kind=kind)
    except ArtefactError as error:
        if place.exists():
            run.log(f"{error}; this piece is made again")
        return False
    return True
