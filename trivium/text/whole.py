"""Passes over a whole corpus: what stands in other documents is dropped or cut, the first keeps it, and everything is counted.

A corpus is a list, or documents on disk (`text/store.py`); of those only some are in memory at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from trivium.core.types import Document
from trivium.text.dedup import Clusters, LineDedup, MinHash, NearDedup, SubstringDedup
from trivium.text.dedup.lines import Span
from trivium.text.marks import first_of_each
from trivium.text.pipeline import DUPLICATE, Funnel
from trivium.text.store import Documents, Selected

NEAR_DUPLICATE, SHARED_LINES, COPY = "near duplicate", "line of many documents", "passage that came before"
_BATCH_DOCUMENTS = 4096


def drop_duplicates(documents: Documents, digest_D: np.ndarray, *, funnel: Funnel) -> Selected:
    """The first of all documents that have a digest. funnel: has counted all of them as kept."""
    return _selected(documents, first_of_each(digest_D), DUPLICATE, funnel)


def drop_near_duplicates(
    documents: Documents, dedup: NearDedup, *, funnel: Funnel, signature_DK: np.ndarray | None = None
) -> tuple[Selected, Clusters]:
    """The documents that stay, in order, and who went for whom. Of duplicates the first is kept: earlier sources have priority.

    funnel: has counted all of them as kept. signature_DK: if they were made before, else they are made now, at 20 to 30 MB/s on one
    core. Banding takes 100,000 documents/s.
    """
    if signature_DK is None:
        signature_DK = signatures(documents, MinHash())
    clusters = dedup(signature_DK, np.arange(len(documents)))
    return _selected(documents, clusters.is_kept_D, NEAR_DUPLICATE, funnel), clusters


def signatures(documents: Documents, minhash: MinHash) -> np.ndarray:
    """Signatures of documents, (D, num_bins) uint32: 512 bytes a document by default, whatever its length."""
    stream, parts = (document.text for document in documents), [np.zeros((0, minhash.num_bins), np.uint32)]
    while batch := list(islice(stream, _BATCH_DOCUMENTS)):
        parts.append(minhash(batch))
    return np.concatenate(parts)


def cluster_rows(documents: Documents, clusters: Clusters) -> Iterator[dict[str, Any]]:
    """{id, size, duplicates: ids of what was dropped for it} of every document that stands for more than itself.

    documents: all of them, as they were given. Sizes weigh texts that the web repeats, and say what deduplication did.
    """
    gone = np.flatnonzero(~clusters.is_kept_D)
    gone = gone[np.argsort(clusters.leader_D[gone], kind="stable")]
    leaders, starts = np.unique(clusters.leader_D[gone], return_index=True)
    for leader, members in zip(leaders, np.split(gone, starts)[1:], strict=True):
        duplicates = [documents[member].id for member in members.tolist()]
        yield {"id": documents[int(leader)].id, "size": len(duplicates) + 1, "duplicates": duplicates}


def cut_shared_lines(documents: Documents, lines: LineDedup, *, funnel: Funnel) -> Iterator[Document]:
    """Documents in order without lines that many share; the first that has one keeps it, and a document without any other goes."""
    shared = lines.shared(_Texts(documents))
    spans = (shared.spans(number, document.text) for number, document in enumerate(documents))
    return _cut(documents, spans, SHARED_LINES, funnel)


def cut_copies(documents: Documents, substrings: SubstringDedup, *, funnel: Funnel) -> Iterator[Document]:
    """Documents in order without long passages that stood before them or earlier in them; one that is nothing else goes."""
    found: Mapping[int, list[Span]] = substrings(_Texts(documents))
    return _cut(documents, (found.get(number, []) for number in range(len(documents))), COPY, funnel)


@dataclass(frozen=True, slots=True)
class _Texts:
    """The texts of documents, to be read more than once."""

    documents: Documents

    def __getitem__(self, index: int) -> str:
        return self.documents[index].text

    def __iter__(self) -> Iterator[str]:
        return (document.text for document in self.documents)


def _selected(documents: Documents, is_kept_D: np.ndarray, reason: str, funnel: Funnel) -> Selected:
    for index in np.flatnonzero(~is_kept_D).tolist():
        funnel.withdraw(documents[index], reason)
    return Selected(documents, np.flatnonzero(is_kept_D))


def _cut(
    documents: Documents, spans_D: Iterator[Sequence[Span]], reason: str, funnel: Funnel
) -> Iterator[Document]:  # fmt: skip
    for document, spans in zip(documents, spans_D, strict=True):
        text = document.text
        edges = [0, *(edge for span in spans for edge in span), len(text)]
        left = "".join(text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))
        if not spans:
            yield document
        elif left.strip():
            gone = [text[start:end] for start, end in spans]
            yield funnel.cut_text(document, left, reason, gone=gone)
        else:
            funnel.withdraw(document, f"nothing but a {reason}")
