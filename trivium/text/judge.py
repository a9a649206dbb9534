"""A batch of documents before its filters: for each a reason to drop it, or what was replaced in it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from trivium.core.types import Document
from trivium.text.pii import Kind, Replacement, scrub
from trivium.text.signals import Reasons, Signals

BATCH_CHARS = 1 << 18  # the arrays of a batch stay in the processor's caches; with fewer characters the calls themselves cost more
LEAST_CHARS = 64  # that a document counts: it takes memory too


class Rule(Protocol):
    """A filter. None keeps a document, a text is the reason to drop it; it never changes text and keeps no state."""

    @property
    def kind(self) -> str:
        """Name in the counts."""
        ...

    def judge(self, signals: Signals) -> Reasons:
        """The reason to drop each document of the batch, or None; what one gets does not depend on its neighbours."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one document. text: with its replacements, None if there are none. replaced: these, of a document that stays."""

    reason: str | None = None
    text: str | None = None
    replaced: tuple[Replacement, ...] = ()


def judge(documents: Sequence[Document], filters: Sequence[Rule], kinds: Sequence[Kind] = ()) -> list[Verdict]:
    """What becomes of each document. The first filter that drops it names the reason; personal data of `kinds` is replaced."""
    signals = Signals(documents)
    left: Sequence[int] = range(len(documents))
    reasons: Reasons = [None] * len(documents)
    for rule in filters:
        for number, reason in zip(left, rule.judge(signals), strict=True):
            if reason is not None and reasons[number] is None:
                reasons[number] = f"{rule.kind}: {reason}"
        staying = [number for number in left if reasons[number] is None]
        if not staying:
            break
        if len(staying) <= len(left) // 2:  # counting anew for these costs less than what follows for all
            signals, left = Signals([documents[number] for number in staying]), staying
    return [_verdict(document, reason, kinds) for document, reason in zip(documents, reasons, strict=True)]


def reason_of(rule: Rule, document: Document) -> str | None:
    """Why a rule drops this one document, or None."""
    return rule.judge(Signals([document]))[0]


def batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Documents in order, in lists of about `BATCH_CHARS` characters; where they are cut depends on nothing but the documents."""
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += max(len(document.text), LEAST_CHARS)
        if size >= BATCH_CHARS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _verdict(document: Document, reason: str | None, kinds: Sequence[Kind]) -> Verdict:
    """What is dropped is scrubbed too: samples of it are kept."""
    text, replaced = scrub(document.text, kinds) if kinds else (document.text, [])
    return Verdict(reason, text if replaced else None, () if reason else tuple(replaced))
