"""Exact duplicates: of texts that are equal up to white space and Unicode composition the first is kept."""

import unicodedata
from hashlib import blake2b

from trivium.core.types import Document

DIGEST_BYTES = 16  # 128 bits: among 10^9 documents a false match has probability 10^-21


class ExactDedup:
    """Remembers every text it has seen, in 16 bytes (about 100 with Python's overhead).

    num_seen, num_duplicates: counts so far. Case is kept: texts that differ in it are different.
    """

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self.num_seen = 0
        self.num_duplicates = 0

    def __call__(self, document: Document) -> bool:
        """Whether this text is new."""
        key = digest(document.text)
        self.num_seen += 1
        if key in self._seen:
            self.num_duplicates += 1
            return False
        self._seen.add(key)
        return True


def digest(text: str) -> bytes:
    """blake2b-128 of the text in NFC with runs of white space collapsed to one space."""
    return blake2b(" ".join(unicodedata.normalize("NFC", text).split()).encode(), digest_size=DIGEST_BYTES).digest()
