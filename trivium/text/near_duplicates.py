"""The pass over a whole corpus that drops near duplicates: signatures batch by batch, one global look at them, a mask of what stays."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from trivium.core.types import Document
from trivium.text.dedup import Clusters, MinHash, NearDedup
from trivium.text.pipeline import Funnel

NEAR_DUPLICATE = "near duplicate"
_BATCH_DOCUMENTS = 4096


def signatures(texts: Iterable[str], minhash: MinHash) -> np.ndarray:
    """Signatures of a stream of texts, (D, num_bins) uint32: 512 bytes a document by default, whatever its length."""
    stream, parts = iter(texts), [np.zeros((0, minhash.num_bins), np.uint32)]
    while batch := list(islice(stream, _BATCH_DOCUMENTS)):
        parts.append(minhash(batch))
    return np.concatenate(parts)


def drop_near_duplicates(
    documents: Sequence[Document], dedup: NearDedup, *, funnel: Funnel, minhash: MinHash | None = None, keep_samples: int = 3
) -> tuple[list[Document], Clusters]:
    """The documents that stay, in order, and who went for whom. Of duplicates the first is kept: earlier sources have priority.

    funnel: has counted all of them as kept. Signatures are made at 20 to 30 MB/s on one core, then banded at 100,000 documents/s.
    """
    clusters = dedup(signatures((document.text for document in documents), minhash or MinHash()), np.arange(len(documents)))
    for index in np.flatnonzero(~clusters.is_kept_D).tolist():
        funnel.withdraw(documents[index], NEAR_DUPLICATE, keep_samples=keep_samples)
    return [documents[index] for index in np.flatnonzero(clusters.is_kept_D).tolist()], clusters


def cluster_rows(documents: Sequence[Document], clusters: Clusters) -> Iterator[dict[str, Any]]:
    """{id, size, duplicates: ids of what was dropped for it} of every document that stands for more than itself.

    documents: all of them, as they were given. Sizes weigh texts that the web repeats, and say what deduplication did.
    """
    gone = np.flatnonzero(~clusters.is_kept_D)
    gone = gone[np.argsort(clusters.leader_D[gone], kind="stable")]
    leaders, starts = np.unique(clusters.leader_D[gone], return_index=True)
    for leader, members in zip(leaders, np.split(gone, starts)[1:], strict=True):
        duplicates = [documents[member].id for member in members.tolist()]
        yield {"id": documents[int(leader)].id, "size": len(duplicates) + 1, "duplicates": duplicates}
