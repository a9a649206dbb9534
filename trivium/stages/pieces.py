"""Long work piece by piece on disk: a stage that was killed goes on after its last piece, and memory does not grow.

A piece is committed, below the stage's checkpoints, when it is whole. What is in it must depend on nothing but the run's seed, the stage's
options and the numbers of the items.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from trivium.core.commit import commit, verify
from trivium.core.errors import ArtefactError
from trivium.core.run import CHECKPOINTS, Run
from trivium.text.write import write_jsonl

T = TypeVar("T")
Rows = Callable[[], Iterator[dict[str, Any]]]  # in order, read again each time
OnDone = Callable[[int], None]
Make = Callable[[int, Sequence[T], OnDone], Iterable[Mapping[str, Any]]]
FILE = "rows.jsonl"


@dataclass(frozen=True, slots=True)
class Pieces:
    """Rows in the pieces of a folder. kind: of what is in them, by which a folder of another kind is told apart."""

    folder: Path
    kind: str

    def place(self, number: int) -> Path:
        """Where a piece is."""
        return self.folder / f"piece-{number:06}"

    def has(self, run: Run, number: int) -> bool:
        """Whether a piece is there and whole; one that is damaged is said, and is to be made again."""
        place = self.place(number)
        try:
            verify(place, kind=self.kind)
        except ArtefactError as error:
            if place.exists():
                run.log(f"{error}; this piece is made again")
            return False
        return True

    def write(self, number: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Commit a piece."""

        def write(folder: Path) -> None:
            write_jsonl(folder / FILE, rows)

        commit(self.place(number), write, kind=self.kind)

    def rows(self, number: int) -> Iterator[dict[str, Any]]:
        """The rows of one piece, in order."""
        with (self.place(number) / FILE).open(encoding="utf-8") as file:
            yield from map(json.loads, file)


def in_pieces(run: Run, items: Iterable[T], make: Make[T], *, total: int, size: int, kind: str, steps: int = 1) -> Rows:
    """Make rows of `total` items, `size` of them a piece, from the first piece that is not there yet.

    make: (number of the first item, items, progress) -> rows; it tells progress how much of steps x items is done. kind: of the pieces.
    """
    pieces = Pieces(run.folder / CHECKPOINTS, kind)

    def write(number: int, part: Sequence[T], on_done: OnDone) -> None:
        pieces.write(number, make(number * size, part, on_done))

    count = each_piece(run, pieces, items, write, total=total, size=size, steps=steps)
    return lambda: chain.from_iterable(map(pieces.rows, range(count)))


def each_piece(
    run: Run, pieces: Pieces, items: Iterable[T], write: Callable[[int, Sequence[T], OnDone], None], *, total: int, size: int,
    steps: int = 1, label: str = "",
) -> int:  # fmt: skip
    """Write every piece that is not there yet, and say how fast; returns how many there are. write: (number of it, its items, progress)."""
    count, stream, made = -(-total // size), iter(items), 0
    with run.progress(total * steps, label) as progress:

        def show(done: int) -> None:
            progress.update(done, f"{(done - progress.first) / steps / progress.seconds:.2f}/s")

        for number in range(count):
            before, part = number * size * steps, list(islice(stream, size))
            if pieces.has(run, number):
                progress.start_at(before + len(part) * steps)
                continue
            write(number, part, lambda done, before=before: show(before + done))
            show(before + len(part) * steps)
            made += len(part)
    if made:
        run.log(f"{pieces.kind}: {made:,} in {progress.seconds:.0f} s, {made / progress.seconds:.2f} a second")
    return count
