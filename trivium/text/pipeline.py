"""What happened to documents on their way through filters and deduplication: a funnel counts it and keeps samples."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from trivium.core.types import Document
from trivium.text.judge import Verdict
from trivium.text.pii import Replacement
from trivium.text.workers import Judged

DUPLICATE, UNREADABLE, DAMAGED = "duplicate", "unreadable", "damaged file"
KEEP_SAMPLES = 3  # of each reason
_SAMPLE_CHARS = 300


@dataclass(slots=True)
class Count:
    """Documents, and the UTF-8 bytes of their texts."""

    documents: int = 0
    bytes: int = 0

    def add(self, size_bytes: int) -> None:
        """Count one document."""
        self.documents += 1
        self.bytes += size_bytes

    def join(self, other: "Count") -> None:
        """Count what another one has counted."""
        self.documents += other.documents
        self.bytes += other.bytes


@dataclass(slots=True)
class Replaced:
    """Personal data of one kind: how often it was replaced, in how many documents, and excerpts that do not show it."""

    count: int = 0
    documents: int = 0
    samples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Funnel:
    """What came in, what was dropped and why, what is left; read = kept + all that was dropped + bytes that were cut or scrubbed.

    cut: reason -> documents that lost a part, and the bytes of it. samples: reason -> the first dropped documents or
    cut parts, as {id, text}, the text cut to 300 characters. replaced: by kind, in what passed the filters; scrubbed: the documents
    of it, and the bytes by which placeholders are shorter than what they stand for (below 0 if they are longer).
    """

    read: Count = field(default_factory=Count)
    kept: Count = field(default_factory=Count)
    dropped: dict[str, Count] = field(default_factory=dict)
    cut: dict[str, Count] = field(default_factory=dict)
    samples: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    replaced: dict[str, Replaced] = field(default_factory=dict)
    scrubbed: Count = field(default_factory=Count)

    @property
    def duplicates(self) -> Count:
        """What was dropped because the same text had come before."""
        return self.dropped.get(DUPLICATE, Count())

    def drop(self, document: Document, reason: str, *, size_bytes: int) -> None:
        """Count a dropped document and keep it as a sample if there is room."""
        self.dropped.setdefault(reason, Count()).add(size_bytes)
        self._sample(document.id, [document.text], reason)

    def withdraw(self, document: Document, reason: str) -> None:
        """Drop a document that was counted as kept: what all documents have to be known for is decided late."""
        size_bytes = len(document.text.encode())
        self.kept.documents -= 1
        self.kept.bytes -= size_bytes
        self.drop(document, reason, size_bytes=size_bytes)

    def cut_text(self, document: Document, text: str, reason: str, *, gone: Sequence[str]) -> Document:
        """The document, counted as kept, with what is left of its text; gone: what is not, for the samples."""
        size_bytes = len(document.text.encode()) - len(text.encode())
        self.kept.bytes -= size_bytes
        self.cut.setdefault(reason, Count()).add(size_bytes)
        self._sample(document.id, gone, reason)
        return replace(document, text=text)

    def _sample(self, name: str, texts: Sequence[str], reason: str) -> None:
        samples = self.samples.setdefault(reason, [])
        samples += [{"id": name, "text": text[:_SAMPLE_CHARS]} for text in texts[: max(0, KEEP_SAMPLES - len(samples))]]

    def replace(self, found: Sequence[Replacement]) -> None:
        """Count what was replaced in a document, and keep excerpts if there is room."""
        for kind in dict.fromkeys(one.kind for one in found):
            excerpts = [one.excerpt for one in found if one.kind == kind]
            entry = self.replaced.setdefault(kind, Replaced())
            entry.count += len(excerpts)
            entry.documents += 1
            entry.samples += excerpts[: max(0, KEEP_SAMPLES - len(entry.samples))]

    def add(self, other: "Funnel") -> None:
        """Count what another one has counted, of documents that come after these."""
        for mine, theirs in ((self.read, other.read), (self.kept, other.kept), (self.scrubbed, other.scrubbed)):
            mine.join(theirs)
        for counts, others in ((self.dropped, other.dropped), (self.cut, other.cut)):
            for reason, count in others.items():
                counts.setdefault(reason, Count()).join(count)
        for reason, found in other.samples.items():
            samples = self.samples.setdefault(reason, [])
            samples += found[: max(0, KEEP_SAMPLES - len(samples))]
        for kind, one in other.replaced.items():
            entry = self.replaced.setdefault(kind, Replaced())
            entry.count += one.count
            entry.documents += one.documents
            entry.samples += one.samples[: max(0, KEEP_SAMPLES - len(entry.samples))]

    def to_dict(self) -> dict[str, Any]:
        """JSON of all counts and samples."""
        return asdict(self)

    def to_report(self) -> dict[str, Any]:
        """funnel.json, as the report reads it."""

        def listed(counts: Mapping[str, Count]) -> list[dict[str, Any]]:
            entries = ((reason, count) for reason, count in counts.items() if reason != DUPLICATE)
            return [
                {"reason": reason, **asdict(count), "samples": [each["text"] for each in self.samples[reason]]} for reason, count in entries
            ]

        ends = {name: asdict(count) for name, count in (("read", self.read), ("duplicates", self.duplicates), ("kept", self.kept))}
        gone = {"dropped": listed(self.dropped)} | ({"cut": listed(self.cut)} if self.cut else {})
        return ends | gone | {"replaced": self.to_dict()["replaced"], "scrubbed": asdict(self.scrubbed)}

    @staticmethod
    def of_dict(told: dict[str, Any]) -> "Funnel":
        """What `to_dict` gave."""
        read, kept, scrubbed = (Count(**told[name]) for name in ("read", "kept", "scrubbed"))
        dropped, cut = ({reason: Count(**count) for reason, count in told[name].items()} for name in ("dropped", "cut"))
        replaced = {kind: Replaced(**entry) for kind, entry in told["replaced"].items()}
        return Funnel(read, kept, dropped, cut, told["samples"], replaced, scrubbed)


def settle(judged: Judged, funnel: Funnel) -> list[Document]:
    """Count a batch; the documents of it that stay, with what was replaced in them."""
    pairs = zip(judged.documents, judged.verdicts, strict=True)
    settled = (_settle(document, verdict, funnel) for document, verdict in pairs)
    return [document for document in settled if document is not None]


def _settle(document: Document, verdict: Verdict, funnel: Funnel) -> Document | None:
    size_bytes, changed = len(document.text.encode()), document
    funnel.read.add(size_bytes)
    funnel.replace(verdict.replaced)
    if verdict.text is not None:
        changed = replace(document, text=verdict.text)
        before, size_bytes = size_bytes, len(changed.text.encode())
        if verdict.replaced:
            funnel.scrubbed.add(before - size_bytes)
    if verdict.reason is None:
        funnel.kept.add(size_bytes)
        return changed
    funnel.drop(changed, verdict.reason, size_bytes=size_bytes)
    return None
