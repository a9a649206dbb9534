"""Lines that many documents share: menus, licences, "read more". They are found by their hash; the first document keeps them.

Left out: lines that differ a little, and shared passages within lines (see `substring`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from xxhash import xxh3_64_intdigest

from trivium.core.errors import ConfigError

Span = tuple[int, int]  # of characters of a text: start, end


@dataclass(frozen=True, kw_only=True, slots=True)
class LineDedup:
    """Texts -> the lines of each that at least `min_documents` texts have, but for those of the first text that has them.

    Wenzek et al. 2020, arXiv:1911.00359, section 3.1 (CCNet) drops every paragraph seen before. Differences: a line has to be in several
    documents, since two may quote the same; digits and punctuation count; case and white space do not. Lines are equal up
    to a 64-bit hash. min_chars: shorter lines (a bracket, "Contents") are shared by chance and stay.
    """

    min_documents: int = 5
    min_chars: int = 20

    def __post_init__(self) -> None:
        if self.min_documents < 2:
            raise ConfigError(f"min_documents is {self.min_documents}; a line is shared by at least 2 (5 is usual)")

    def shared(self, texts: Iterable[str]) -> "SharedLines":
        """One pass over all texts; holds 12 bytes a line."""
        hashes, documents = [np.zeros(0, np.uint64)], [np.zeros(0, np.int32)]
        for number, text in enumerate(texts):
            own = np.fromiter({name for name, _ in self.of(text)}, np.uint64)  # once a document
            hashes.append(own)
            documents.append(np.full(len(own), number, np.int32))
        hash_L = np.concatenate(hashes)
        order = np.argsort(hash_L, kind="stable")  # of equal lines the first document's comes first
        unique, start, count = np.unique(hash_L[order], return_index=True, return_counts=True)
        many = count >= self.min_documents
        return SharedLines(self, dict(zip(unique[many].tolist(), np.concatenate(documents)[order][start[many]].tolist(), strict=True)))

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
