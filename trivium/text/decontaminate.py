"""Decontamination: documents that hold runs of words of evaluation texts are dropped, cut or flagged, and counted for each benchmark.

Works on strings, so it serves conversations and synthetic data too. Left out: paraphrases and translations, which share no runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal

import numpy as np

from trivium.core.errors import ConfigError
from trivium.core.types import Document
from trivium.text.dedup.lines import Span, merged
from trivium.text.dedup.minhash import batches
from trivium.text.pipeline import Funnel
from trivium.text.words import hash_words, lay_out, ngrams, split_at_punctuation

OnOverlap = Literal["drop", "cut", "flag"]
FLAG = "contaminated"  # the field of a flagged document: names of benchmarks
MIN_WORDS = 8  # an evaluation text with fewer says too little to be recognised
_MARGIN_CHARS, _MIN_PIECE_CHARS, _MAX_PIECES = 200, 200, 10
_MAX_SAMPLES, _SAMPLE_CHARS = 3, 300
_MAX_SIEVE_BITS = 26


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a text has of evaluation texts. spans: (start, end) in characters, in order and apart; items: (benchmark, its number)."""

    spans: tuple[Span, ...]
    items: frozenset[tuple[str, int]]

    @property
    def benchmarks(self) -> list[str]:
        """Their names, sorted."""
        return sorted({name for name, _ in self.items})


class Evaluations:
    """The runs of words of evaluation texts, to be found in others.

    benchmarks: name -> items, each with its texts (a question, its passage, its choices). ngram: words of a run; a text with fewer,
    but at least 8, counts as one run. Brown et al. 2020, arXiv:2005.14165, appendix C: 13 words, any run in common. Differences: their
    length is the 5th percentile of a benchmark's examples, between 8 and 13, and they spare runs in more than 10 documents, which
    are common phrases; words are runs of letters and digits, case does not matter. Runs are equal up to a 64-bit hash.
    """

    def __init__(self, benchmarks: Mapping[str, Iterable[Sequence[str]]], *, ngram: int = 13) -> None:
        if ngram < MIN_WORDS:
            raise ConfigError(f"ngram is {ngram}; below {MIN_WORDS} words ordinary phrases are taken for evaluation texts (13 is usual)")
        self.ngram = ngram
        self.num_items: dict[str, int] = dict.fromkeys(benchmarks, 0)
        self.num_too_short: dict[str, int] = dict.fromkeys(benchmarks, 0)
        self._items: list[tuple[str, int]] = []
        texts: list[str] = []
        owners: list[int] = []
        for name, items in benchmarks.items():
            for item in items:
                texts += item
                owners += [len(self._items)] * len(item)
                self._items.append((name, self.num_items[name]))
                self.num_items[name] += 1
        self._tables = self._make_tables(texts, np.array(owners, np.int64))
        usable = np.zeros(len(self._items), bool)
        for table in self._tables.values():
            usable[table.item_G] = True
        for index in np.flatnonzero(~usable):
            self.num_too_short[self._items[index][0]] += 1

    def find(self, texts: Sequence[str]) -> list[Overlap | None]:
        """The overlap of each text, None where there is none. About as fast as the hashes of words are made."""
        found: list[Overlap | None] = []
        for batch in batches(texts):
            found += self._find(batch)
        return found

    def _find(self, texts: Sequence[str]) -> list[Overlap | None]:
        text = lay_out(texts)
        words = split_at_punctuation(text)
        hashes = hash_words(text, words)
        document_W, hits = words.document_W, []
        for size, table in self._tables.items():
            grams, first = ngrams(hashes, words, size)
            at, items = table.look_up(grams)
            hits += [(document_W[w], words.start_W[w], words.end_W[w + size - 1], item) for w, item in zip(first[at], items, strict=True)]
        found: list[Overlap | None] = [None] * len(texts)
        for number, group in groupby(sorted(hits), key=itemgetter(0)):
            own, shift = list(group), int(text.start_D[number])
            spans = tuple(merged((int(start) - shift, int(end) - shift) for _, start, end, _ in own))
            found[number] = Overlap(spans, frozenset(self._items[item] for *_, item in own))
        return found

    def _make_tables(self, texts: Sequence[str], owners: np.ndarray) -> dict[int, "_Table"]:
        """Tables of runs by their length in words."""
        parts: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
        done = 0
        for batch in batches(texts):
            text = lay_out(batch)
            words = split_at_punctuation(text)
            hashes, num_words = hash_words(text, words), np.diff(words.first_D)
            for size in np.unique(np.minimum(num_words, self.ngram)).tolist():
                if size < MIN_WORDS:
                    continue
                grams, first = ngrams(hashes, words, size)
                document = words.document_W[first]
                mine = (num_words[document] == size) | (size == self.ngram)
                parts.setdefault(size, []).append((grams[mine], owners[done + document[mine]]))
            done += len(batch)
        return {size: _Table.of(*map(np.concatenate, zip(*found, strict=True))) for size, found in sorted(parts.items())}


@dataclass(frozen=True, slots=True)
class _Table:
    """Hashes of runs, sorted, the item of each, and a sieve that lets hardly anything else through."""

    hash_G: np.ndarray
    item_G: np.ndarray
    sieve: np.ndarray

    @classmethod
    def of(cls, hashes: np.ndarray, items: np.ndarray) -> "_Table":
        order = np.lexsort((items, hashes))
        hashes, items = hashes[order], items[order]
        sieve = np.zeros(1 << min(max(10, (16 * len(hashes)).bit_length()), _MAX_SIEVE_BITS), bool)
        sieve[(hashes & np.uint64(len(sieve) - 1)).astype(np.int64)] = True
        return cls(hashes, items, sieve)

    def look_up(self, grams: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places among `grams` of those that are here, and the item of each; a run of several items is there as often."""
        likely = np.flatnonzero(self.sieve.take((grams & np.uint64(len(self.sieve) - 1)).astype(np.int64)))
        low, high = (np.searchsorted(self.hash_G, grams[likely], side) for side in ("left", "right"))
        count = high - low
        entry = np.repeat(low - np.cumsum(count) + count, count) + np.arange(count.sum())
        return np.repeat(likely, count), self.item_G[entry]


@dataclass(slots=True)
class Contamination:
    """What was found so far: for each benchmark the items that were hit and the documents they are in, with samples."""

    evaluations: Evaluations
    items: dict[str, set[int]] = field(default_factory=dict)
    documents: dict[str, int] = field(default_factory=dict)
    samples: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def add(self, name: str, text: str, overlap: Overlap) -> None:
        """Count one document or conversation called `name`."""
        for benchmark, number in overlap.items:
            self.items.setdefault(benchmark, set()).add(number)
        start, end = overlap.spans[0]
        for benchmark in overlap.benchmarks:
            self.documents[benchmark] = self.documents.get(benchmark, 0) + 1
            samples = self.samples.setdefault(benchmark, [])
            if len(samples) < _MAX_SAMPLES:
                samples.append({"id": name, "text": text[start : min(end, start + _SAMPLE_CHARS)]})

    def to_dict(self) -> dict[str, Any]:
        """Benchmark -> items, those too short to be recognised, items that were hit, documents with a hit, samples of what they share."""
        return {
            name: {
                "items": count,
                "too_short": self.evaluations.num_too_short[name],
                "hit_items": len(self.items.get(name, ())),
                "documents": self.documents.get(name, 0),
                "samples": self.samples.get(name, []),
            }
            for name, count in self.evaluations.num_items.items()
        }

    def found(self) -> dict[str, Any]:
        """What `join` reads, as JSON."""
        items = {name: sorted(numbers) for name, numbers in self.items.items()}
        return {"items": items, "documents": self.documents, "samples": self.samples}

    def join(self, found: Mapping[str, Any]) -> None:
        """Count what another one has found in documents that come after these."""
        for name, numbers in found["items"].items():
            self.items.setdefault(name, set()).update(numbers)
        for name, count in found["documents"].items():
            self.documents[name] = self.documents.get(name, 0) + count
        for name, theirs in found["samples"].items():
            samples = self.samples.setdefault(name, [])
            samples += theirs[: max(0, _MAX_SAMPLES - len(samples))]


def settle_overlaps(
    documents: Sequence[Document], contamination: Contamination, mode: OnOverlap, *, funnel: Funnel
) -> list[Document | None]:  # fmt: skip
    """Each document, what is left of it, or None: with an overlap it is dropped, loses it, or gets the names of its benchmarks as a field.

    One without an overlap is the very same object. funnel: has counted them as kept. Cut as in Brown et al.: a run goes with 200
    characters on both sides (here to the next white space), pieces below 200 characters go too, and a document that falls into more than
    10 pieces goes whole. Difference: the pieces stay one document, with a blank line where something is missing.
    """
    overlaps = contamination.evaluations.find([document.text for document in documents])
    return [
        document if overlap is None else _settled(document, overlap, contamination, mode, funnel)
        for document, overlap in zip(documents, overlaps, strict=True)
    ]


def _settled(document: Document, overlap: Overlap, contamination: Contamination, mode: OnOverlap, funnel: Funnel) -> Document | None:
    contamination.add(document.id, document.text, overlap)
    benchmarks = ", ".join(overlap.benchmarks)
    if mode == "flag":
        return replace(document, meta={**document.meta, FLAG: overlap.benchmarks})
    pieces, gone = without(document.text, overlap.spans) if mode == "cut" else ([], [])
    if pieces:
        return funnel.cut_text(document, "\n\n".join(pieces), f"part of {benchmarks}", gone=gone)
    funnel.withdraw(document, f"evaluation text of {benchmarks}")
    return None


def without(text: str, spans: Sequence[Span]) -> tuple[list[str], list[str]]:
    """(pieces that stay, pieces that go) when spans and what is around them are cut; nothing stays of a text in too many pieces."""
    wide = merged((_out(text, start - _MARGIN_CHARS, -1), _out(text, end + _MARGIN_CHARS, 1)) for start, end in spans)
    edges = [0, *(edge for span in wide for edge in span), len(text)]
    stay = [text[a:b].strip() for a, b in zip(edges[::2], edges[1::2], strict=True)]
    kept = [piece for piece in stay if len(piece) >= _MIN_PIECE_CHARS]
    gone = [text[start:end] for start, end in wide]
    return ([], [text]) if len(kept) > _MAX_PIECES else (kept, gone)


def _out(text: str, place: int, step: int) -> int:
    """The next white space outwards from a place, or the text's end."""
    while 0 < place < len(text) and not text[place].isspace():
        place += step
    return min(max(place, 0), len(text))
