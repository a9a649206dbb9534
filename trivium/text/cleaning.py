"""The first pass over raw text, piece by piece: read, judge, decontaminate, mark. What a piece leaves depends on nothing but its input.

Inputs are grouped into units of some megabytes; a unit leaves pieces, each committed when it is whole, in a folder that is named by a
hash of the options and of the unit's content. So a run that was killed goes on after its last piece; other processes, on other
machines if the folder is shared, can do other units; and neither how many they are nor in which order they do them changes a bit.
Left out: what needs the whole corpus, such as duplicates; `text/whole.py` looks at the marks of all pieces for that.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from trivium.core.commit import commit, commit_file, fingerprint, hash_file, locked, verify
from trivium.core.config import plain
from trivium.core.errors import ArtefactError, DamagedError, DataError
from trivium.core.progress import counted
from trivium.core.types import Document
from trivium.text.assets import ASSETS
from trivium.text.decontaminate import Contamination, Evaluations, OnOverlap, settle_overlaps
from trivium.text.dedup import MinHash
from trivium.text.hub import is_hub
from trivium.text.judge import Rule, batches
from trivium.text.marks import Marks
from trivium.text.pii import Kind
from trivium.text.pipeline import DAMAGED, UNREADABLE, Funnel, settle
from trivium.text.read import files_of, read_documents
from trivium.text.store import StoreWriter
from trivium.text.workers import Judges, Task

KIND = "cleaned piece"
DIGESTS, SIGNATURES, COUNTS = "digests.npy", "signatures.npy", "counts.json"
UNIT_BYTES, PIECE_CHARS = 64 << 20, 64 << 20
_LEAST_CHARS = 1 << 10  # that a document counts in a piece: its signature takes half of that

OnProgress = Callable[[int, int, int], None]  # units that are done, documents and characters read so far


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What is done to every document by itself. evaluations: benchmark -> where its texts are read from.

    is_lenient: records that cannot be read are counted, and reading goes on.
    """

    filters: tuple[Rule, ...] = ()
    scrub: tuple[Kind, ...] = ()
    minhash: MinHash | None = None
    evaluations: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    on_overlap: OnOverlap = "drop"
    is_lenient: bool = False

    def identity(self) -> dict[str, Any]:
        """What the result depends on besides the input."""
        minhash = asdict(self.minhash) if self.minhash else None
        evaluations = {name: fingerprint([list(item) for item in items]) for name, items in self.evaluations.items()}
        rest = {"scrub": list(self.scrub), "on_overlap": self.on_overlap, "is_lenient": self.is_lenient, "piece_chars": PIECE_CHARS}
        return {"filters": plain(list(self.filters)), "minhash": minhash, "evaluations": evaluations, **rest}


@dataclass(frozen=True, slots=True)
class Unit:
    """Inputs that are read one after the other: names of assets or of data sets of the hub (str), and files (Path)."""

    inputs: tuple[str | Path, ...]
    max_documents: int = 0  # of all its inputs; 0: all

    def folder(self, below: Path, cleaning: Cleaning) -> Path:
        """Where its pieces lie: the name is a hash of all they depend on."""
        content = [[str(one), hash_file(one)[0] if isinstance(one, Path) else "asset"] for one in self.inputs]
        whole = {"content": content, "max": self.max_documents, "cleaning": cleaning.identity()}
        return below / fingerprint(whole)[:24]

    def documents(self, on_skip: Callable[[DataError], None] | None) -> Iterator[Document]:
        """All of them in order."""
        stream = chain.from_iterable(read_documents(one, on_skip) for one in self.inputs)
        return islice(stream, self.max_documents or None)


def units_of(sources: Sequence[str], max_documents: int = 0, unit_bytes: int = 0) -> list[Unit]:
    """The inputs of sources in order, small files together. With a limit there is one unit: where it ends is known by reading.

    unit_bytes: of a unit, where it is not that of everybody; 0: UNIT_BYTES.
    """
    most = unit_bytes or UNIT_BYTES
    units: list[list[str | Path]] = []
    size = 0
    for one in chain.from_iterable([source] if source in ASSETS or is_hub(source) else files_of(source) for source in sources):
        own = one.stat().st_size if isinstance(one, Path) else most
        if not units or (size + own > most and not max_documents):
            units.append([])
            size = 0
        units[-1].append(one)
        size += own
    return [Unit(tuple(inputs), max_documents) for inputs in units]


def clean_units(
    units: Sequence[Unit], cleaning: Cleaning, folder: Path, *, num_workers: int = 1,
    on_progress: OnProgress = lambda *_: None, on_note: Callable[[str], None] = lambda _: None,
) -> list[Path]:  # fmt: skip
    """Do what is not yet done of the units, in `folder`; return all their pieces in order.

    on_note: is told how many units had been cleaned before, of files that cannot be read to their end, and of pieces that were damaged on
    disk and are made again.
    Raises DataError where reading does, if the cleaning is not lenient.
    """
    evaluations = Evaluations(cleaning.evaluations) if cleaning.evaluations else None
    pieces: list[Path] = []
    documents = chars = num_found = 0
    with Judges(Task(cleaning.filters, cleaning.scrub, has_marks=True, minhash=cleaning.minhash), num_workers) as judges:
        for number, unit in enumerate(units):

            def told(more_documents: int, more_chars: int, before: tuple[int, int, int] = (number, documents, chars)) -> None:
                on_progress(before[0], before[1] + more_documents, before[2] + more_chars)

            place = unit.folder(folder, cleaning)
            work = _UnitWork(unit, cleaning, place, judges, evaluations, told, on_note)
            with locked(folder / "locks" / place.name):  # another process may be at it
                pieces += work.run()
            documents, chars, num_found = documents + work.num_read, chars + work.num_chars, num_found + work.was_there
            on_progress(number + 1, documents, chars)
    if num_found:
        on_note(f"{num_found:,} of {counted(len(units), 'unit')} had been cleaned before")
    return pieces


@dataclass(slots=True)
class _UnitWork:
    """A unit while its pieces are made. num_read: records so far, those that could not be read among them. was_there: all its pieces."""

    unit: Unit
    cleaning: Cleaning
    folder: Path
    judges: Judges
    evaluations: Evaluations | None
    on_progress: Callable[[int, int], None]
    on_note: Callable[[str], None]
    num_read: int = 0
    num_chars: int = 0
    is_last: bool = False
    was_there: bool = False
    _unreadable: list[DataError] = field(default_factory=list)

    def run(self) -> list[Path]:
        """All pieces of the unit, those that were there before first."""
        pieces: list[Path] = []
        while not self.is_last and (meta := self._finished(self.folder / f"{len(pieces):05d}")):
            pieces.append(self.folder / f"{len(pieces):05d}")
            self.num_read, self.num_chars, self.is_last = meta["num_read"], meta["num_chars"], meta["is_last"]
        self.was_there = self.is_last
        stream = iter(()) if self.is_last else self._after(self.num_read)
        while not self.is_last:
            pieces.append(self.folder / f"{len(pieces):05d}")
            meta = {}
            commit(pieces[-1], lambda target, meta=meta: meta.update(self._write(target, stream)), kind=KIND, meta=meta)
        return pieces

    def _finished(self, piece: Path) -> dict[str, Any] | None:
        """What the manifest of a piece says; None if it has to be made."""
        if not piece.exists():
            return None
        try:
            return verify(piece, kind=KIND)["meta"]
        except ArtefactError as error:
            self.on_note(f"{error}; it is made again")
            return None

    def _after(self, num_read: int) -> Iterator[Document]:
        """The documents that no piece has; those before are read again, which costs little beside judging them."""
        stream = self.unit.documents(self._unreadable.append if self.cleaning.is_lenient else None)
        count = 0
        while count < num_read:
            next(stream)
            count += 1 + len(self._unreadable)
            self._unreadable.clear()
        return stream

    def _write(self, target: Path, stream: Iterator[Document]) -> dict[str, Any]:
        """Make the next piece; what its manifest is to say."""
        funnel = Funnel()
        contamination = Contamination(self.evaluations) if self.evaluations else None
        marks: list[Marks] = [Marks.of([], self.cleaning.minhash)]
        with StoreWriter(target) as writer:
            for judged in self.judges(batches(self._piece_of(stream, funnel))):
                kept, found = settle(judged, funnel), judged.marks
                assert found is not None
                if contamination is not None:
                    kept, found = self._decontaminated(kept, found, contamination, funnel)
                for document in kept:
                    writer.add(document)
                marks.append(found)
                self.on_progress(self.num_read, self.num_chars)
        np.save(target / DIGESTS, np.concatenate([one.digest_D for one in marks]))
        np.save(target / SIGNATURES, np.concatenate([one.signature_DK for one in marks]))
        counts = {"funnel": funnel.to_dict(), "contamination": contamination.found() if contamination else {}}
        (target / COUNTS).write_text(json.dumps(counts, ensure_ascii=False))
        return {"num_read": self.num_read, "num_chars": self.num_chars, "is_last": self.is_last}

    def _piece_of(self, stream: Iterator[Document], funnel: Funnel) -> Iterator[Document]:
        """Documents until the piece is full or there are no more."""
        room = PIECE_CHARS
        while room > 0:
            document = next(stream, None)
            for error in self._unreadable:
                funnel.read.add(0)
                funnel.drop(Document(str(error)), DAMAGED if isinstance(error, DamagedError) else UNREADABLE, size_bytes=0)
                if isinstance(error, DamagedError):
                    self.on_note(str(error))
            self.num_read += len(self._unreadable)
            self._unreadable.clear()
            if document is None:
                self.is_last = True
                return
            self.num_read += 1
            self.num_chars += len(document.text)
            room -= max(len(document.text), _LEAST_CHARS)
            yield document

    def _decontaminated(
        self, documents: list[Document], marks: Marks, contamination: Contamination, funnel: Funnel
    ) -> tuple[list[Document], Marks]:  # fmt: skip
        """What is left, with the marks of what it says now."""
        settled = settle_overlaps(documents, contamination, self.cleaning.on_overlap, funnel=funnel)
        stays = [number for number, document in enumerate(settled) if document is not None]
        left = [document for document in settled if document is not None]
        digest_D, signature_DK = marks.digest_D[stays], marks.signature_DK[stays]
        cut = [place for place, number in enumerate(stays) if left[place].text != documents[number].text]
        if cut:
            anew = Marks.of([left[place].text for place in cut], self.cleaning.minhash)
            digest_D[cut], signature_DK[cut] = anew.digest_D, anew.signature_DK
        return left, Marks(digest_D, signature_DK)


def counts_of(pieces: Sequence[Path], evaluations: Contamination | None) -> Funnel:
    """The funnel of all pieces; what they have of evaluation texts is added to `evaluations`."""
    funnel = Funnel()
    for piece in pieces:
        counts = json.loads((piece / COUNTS).read_text())
        funnel.add(Funnel.of_dict(counts["funnel"]))
        if evaluations is not None:
            evaluations.join(counts["contamination"])
    return funnel


def gathered(pieces: Sequence[Path], index_K: np.ndarray, file: Path) -> np.ndarray:
    """Signatures of some documents of all pieces, (K, num_bins) uint32, from a file that is written for it and mapped."""
    width, first = 0, 0

    def write(path: Path) -> None:
        nonlocal width, first
        with path.open("wb") as out:
            for piece in pieces:
                signature_DK = np.load(piece / SIGNATURES)
                width = signature_DK.shape[1]
                low, high = np.searchsorted(index_K, [first, first + len(signature_DK)])
                out.write(signature_DK[index_K[low:high] - first].tobytes())
                first += len(signature_DK)

    commit_file(file, write)
    return np.memmap(file, np.uint32, "r", shape=(len(index_K), width)) if len(index_K) else np.zeros((0, width), np.uint32)
