"""Documents between two passes over a corpus: JSON lines on disk, read in order or by number, never all in memory."""

import json
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from trivium.core.commit import commit
from trivium.core.errors import ArtefactError
from trivium.core.types import Document
from trivium.text.write import json_line

ROWS, ENDS = "rows.jsonl", "ends.npy"
_OWN = ("text", "id", "source")


class Documents(Protocol):
    """What a pass over a corpus needs: how many there are, each by its number, and all in order as often as it likes."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Document: ...
    def __iter__(self) -> Iterator[Document]: ...


def document_row(document: Document) -> dict[str, Any]:
    """A document as a record that `read_documents` gives back."""
    return {**document.meta, "text": document.text, "id": document.id, "source": document.source}  # meta may not speak for the text


def row_bytes(document: Document) -> bytes:
    """A document as a line of JSON."""
    return json_line(document_row(document))


class StoreWriter:
    """Appends documents to a folder, which is a `Store` at the end; a context manager. The caller commits the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._ends, self._size = folder, array("q"), 0
        self._rows = (folder / ROWS).open("wb", buffering=1 << 20)

    def add(self, document: Document) -> None:
        """Append one document."""
        self._size += self._rows.write(row_bytes(document))
        self._ends.append(self._size)

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._rows.close()
        if error is None:
            np.save(self.folder / ENDS, np.frombuffer(self._ends, np.int64))


@dataclass(frozen=True, slots=True)
class Store:
    """The documents of one folder. end_D: int64, the byte in rows.jsonl after each."""

    folder: Path
    end_D: np.ndarray

    @staticmethod
    def open(folder: Path) -> "Store":
        """Raises ArtefactError if the two files disagree."""
        end_D = np.load(folder / ENDS)
        if (folder / ROWS).stat().st_size != (int(end_D[-1]) if len(end_D) else 0):
            raise ArtefactError(f"{folder}: {ROWS} and {ENDS} do not belong together; delete the folder, and it is made again")
        return Store(folder, end_D)

    def __len__(self) -> int:
        return len(self.end_D)

    def __getitem__(self, index: int) -> Document:
        end = int(self.end_D[index])
        start = int(self.end_D[index - 1]) if index else 0
        with (self.folder / ROWS).open("rb", buffering=0) as file:  # a corpus may have more parts than a process may hold open
            return _document(os.pread(file.fileno(), end - start, start))

    def __iter__(self) -> Iterator[Document]:
        with (self.folder / ROWS).open("rb", buffering=1 << 20) as file:
            for line in file:
                yield _document(line)


def _document(line: bytes) -> Document:
    row = json.loads(line)
    text, name, source = (row.pop(key) for key in _OWN)
    return Document(text, name, source, row)


@dataclass(frozen=True, slots=True)
class Joined:
    """Several stores one after the other."""

    parts: Sequence[Store]
    first_P: np.ndarray = field(init=False)  # (P + 1,) int64, number of the first document of each part

    def __post_init__(self) -> None:
        object.__setattr__(self, "first_P", np.cumsum([0, *map(len, self.parts)]))

    def __len__(self) -> int:
        return int(self.first_P[-1])

    def __getitem__(self, index: int) -> Document:
        part = int(np.searchsorted(self.first_P, index, side="right")) - 1
        return self.parts[part][index - int(self.first_P[part])]

    def __iter__(self) -> Iterator[Document]:
        for part in self.parts:
            yield from part


@dataclass(frozen=True, slots=True)
class Selected:
    """Some documents of others. index_K: int64, their numbers there, ascending."""

    documents: Documents
    index_K: np.ndarray

    def __len__(self) -> int:
        return len(self.index_K)

    def __getitem__(self, index: int) -> Document:
        return self.documents[int(self.index_K[index])]

    def __iter__(self) -> Iterator[Document]:
        is_wanted = np.zeros(len(self.documents), bool)
        is_wanted[self.index_K] = True
        return (document for document, wanted in zip(self.documents, is_wanted, strict=True) if wanted)


def stored(documents: Iterable[Document], folder: Path) -> Store:
    """Write documents into a new folder, and return them as it has them."""

    def write(target: Path) -> None:
        with StoreWriter(target) as writer:
            for document in documents:
                writer.add(document)

    commit(folder, write, kind="documents")
    return Store.open(folder)


def in_order(documents: Documents, order: np.ndarray, *, block: int) -> Iterator[Document]:
    """The documents in another order. `block` of them are read from front to back, which a disk likes, and then put in order."""
    for start in range(0, len(order), block):
        numbers = order[start : start + block]
        found = {number: documents[number] for number in np.sort(numbers).tolist()}
        yield from (found[number] for number in numbers.tolist())
