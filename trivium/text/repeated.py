"""Passes over a whole corpus that cut what stands in other documents: shared lines, copied passages. Every cut is counted and sampled."""

from collections.abc import Iterable, Sequence

from trivium.core.types import Document
from trivium.text.dedup import LineDedup, SubstringDedup
from trivium.text.pipeline import Funnel

SHARED_LINES, COPY = "line of many documents", "passage that came before"


def cut_shared_lines(documents: Sequence[Document], lines: LineDedup, *, funnel: Funnel, keep_samples: int = 3) -> list[Document]:
    """Documents in order without lines that many share; the first that has one keeps it, and a document without any other goes."""
    shared = lines.shared(document.text for document in documents)
    spans = (shared.spans(number, document.text) for number, document in enumerate(documents))
    return _cut(documents, spans, SHARED_LINES, funnel, keep_samples)


def cut_copies(documents: Sequence[Document], substrings: SubstringDedup, *, funnel: Funnel, keep_samples: int = 3) -> list[Document]:
    """Documents in order without long passages that stood before them or earlier in them; one that is nothing else goes."""
    spans = substrings([document.text for document in documents])
    return _cut(documents, spans, COPY, funnel, keep_samples)


def _cut(
    documents: Sequence[Document], spans_D: Iterable[list[tuple[int, int]]], reason: str, funnel: Funnel, keep_samples: int
) -> list[Document]:  # fmt: skip
    kept = []
    for document, spans in zip(documents, spans_D, strict=True):
        text = document.text
        edges = [0, *(edge for span in spans for edge in span), len(text)]
        left = "".join(text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))
        if not spans:
            kept.append(document)
        elif left.strip():
            gone = [text[start:end] for start, end in spans]
            kept.append(funnel.cut_text(document, left, reason, gone=gone, keep_samples=keep_samples))
        else:
            funnel.withdraw(document, f"nothing but a {reason}", keep_samples=keep_samples)
    return kept
