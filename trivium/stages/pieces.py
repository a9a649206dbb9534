"""What a stage makes in pieces, each committed when it is whole: a stage that was killed goes on after its last piece."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trivium.core.commit import commit, verify
from trivium.core.errors import ArtefactError
from trivium.core.run import Run
from trivium.text.write import write_jsonl

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
