"""Lines that many documents share: menus, licences, "read more". They are found by their hash; the first document keeps them.

Left out: lines that differ a little, and shared passages within lines (see `substring`).
"""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from xxhash import xxh3_64_intdigest

from trivium.core.errors import ConfigError

_BYTES_PER_LINE = 40  # while they are sorted
_MAX_PARTS = 1 << 10
Span = tuple[int, int]  # of characters of a text: start, end


@dataclass(frozen=True, kw_only=True, slots=True)
class LineDedup:
    """Texts -> the lines of each that at least `min_documents` texts have, but for those of the first text that has them.

    Wenzek et al. 2020, arXiv:1911.00359, section 3.1 (CCNet) drops every paragraph seen before. Differences: a line has to be in several
    documents, since two may quote the same; digits and punctuation count; case and white space do not. Lines are equal up
    to a 64-bit hash. min_chars: shorter lines (a bracket, "Contents") are shared by chance and stay. memory_bytes: for hashes, 40 bytes
    a line; when there is less, the texts are read several times, and each time a part of the hashes is looked at.
    """

    min_documents: int = 5
    min_chars: int = 20
    memory_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        if self.min_documents < 2:
            raise ConfigError(f"min_documents is {self.min_documents}; a line is shared by at least 2 (5 is usual)")

    def shared(self, texts: Iterable[str]) -> "SharedLines":
        """What these texts share. They must be such that they can be read more than once."""
        first: dict[int, int] = {}
        todo = [(0, 1)]  # (which, of how many parts) of all hashes
        while todo:
            names, documents = self._collect(texts, *todo.pop(), todo)
            order = np.argsort(names, kind="stable")  # of equal lines the first document's comes first
            unique, start, count = np.unique(names[order], return_index=True, return_counts=True)
            many = count >= self.min_documents
            first.update(zip(unique[many].tolist(), documents[order][start[many]].tolist(), strict=True))
        return SharedLines(self, first)

    def _collect(self, texts: Iterable[str], part: int, parts: int, todo: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
        """Hash and document of the lines in a part, once a document. Too many: half of them are left for later, which `todo` is told."""
        names, documents = array("Q"), array("i")
        for number, text in enumerate(texts):
            own = {name for name, _ in self.of(text) if name % parts == part}
            names.extend(own)
            documents.extend([number] * len(own))
            while _BYTES_PER_LINE * len(names) > self.memory_bytes and parts < _MAX_PARTS:
                todo.append((part + parts, 2 * parts))
                parts *= 2
                mine = np.frombuffer(names, np.uint64) % np.uint64(parts) == part
                names, documents = array("Q", np.frombuffer(names, np.uint64)[mine]), array("i", np.frombuffer(documents, np.int32)[mine])
        return np.frombuffer(names, np.uint64), np.frombuffer(documents, np.int32)

    def of(self, text: str) -> Iterator[tuple[int, Span]]:
        """Hash and place of every line that is long enough, its line feed included in the place."""
        start = 0
        for line in text.splitlines(keepends=True):
            end = start + len(line)
            plain = " ".join(line.split()).casefold()
            if len(plain) >= self.min_chars:
                yield xxh3_64_intdigest(plain.encode("utf-8", "surrogatepass")), (start, end)
            start = end


@dataclass(frozen=True, slots=True)
class SharedLines:
    """What a corpus shares: hash of a line -> the number of the text that keeps it."""

    lines: LineDedup
    first: dict[int, int]

    def spans(self, number: int, text: str) -> list[Span]:
        """Places of shared lines in text `number` that other texts before it have; the rest of the text is its own."""
        return [span for name, span in self.lines.of(text) if self.first.get(name, number) != number]


def merged(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, those that touch or overlap as one."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found
