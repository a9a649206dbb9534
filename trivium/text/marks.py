"""What deduplication has to know of a text when the text is no longer at hand: its digest and its signature."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trivium.text.dedup.exact import DIGEST_BYTES, digest
from trivium.text.dedup.minhash import MinHash


@dataclass(frozen=True, slots=True)
class Marks:
    """digest_D: (D, 16) uint8, of each text (dedup/exact.py). signature_DK: (D, K) uint32; K is 0 if none was asked for."""

    digest_D: np.ndarray
    signature_DK: np.ndarray

    @staticmethod
    def of(texts: Sequence[str], minhash: MinHash | None) -> "Marks":
        """Those of texts, in order."""
        digests = np.frombuffer(b"".join(map(digest, texts)), np.uint8).reshape(-1, DIGEST_BYTES)
        return Marks(digests, minhash(texts) if minhash else np.zeros((len(texts), 0), np.uint32))


def first_of_each(digest_D: np.ndarray, *, memory_bytes: int = 1 << 30) -> np.ndarray:
    """Whether each digest is the first of its kind, (D,) bool. Looked at in parts by their values, 48 bytes a digest at once."""
    parts = max(1, -(-48 * len(digest_D) // memory_bytes))
    is_first = np.zeros(len(digest_D), bool)
    for part in range(parts):
        mine = np.flatnonzero(digest_D[:, 0] % parts == part) if parts > 1 else np.arange(len(digest_D))
        keys = np.ascontiguousarray(digest_D[mine]).view(f"V{digest_D.shape[1]}").ravel()
        is_first[mine[np.unique(keys, return_index=True)[1]]] = True
    return is_first
