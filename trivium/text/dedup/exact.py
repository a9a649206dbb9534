"""Exact duplicates: texts that are equal up to white space and Unicode composition have one digest. Case is kept."""

import re
import unicodedata
from collections.abc import Iterator
from hashlib import blake2b

_PART_CHARS = 1 << 16  # normalised and split at once: a list of all words of a text takes ten times its size
_WHITE = re.compile(r"\s")
DIGEST_BYTES = 16  # 128 bits: among 10^9 documents a false match has probability 10^-21


def digest(text: str) -> bytes:
    """blake2b-128 of the text in NFC with runs of white space collapsed to one space."""
    found, between = blake2b(digest_size=DIGEST_BYTES), b""
    for part in _parts(text):
        if words := unicodedata.normalize("NFC", part).split():
            found.update(between + " ".join(words).encode())
            between = b" "
    return found.digest()


def _parts(text: str) -> Iterator[str]:
    """The text in parts of about so many characters; each begins with white space, which nothing before it composes with."""
    start = 0
    while start < len(text):
        cut = _WHITE.search(text, start + _PART_CHARS)
        end = cut.start() if cut else len(text)
        yield text[start:end]
        start = end
