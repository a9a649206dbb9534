"""Words of many documents at once, as numbers: where they begin and end, and a hash of each that does not depend on its place.

Texts are laid end to end as code points, so that classes of characters are exact (`str.split`, `str.isalnum`) and everything
after it is NumPy over whole batches. They are cut at everything that is not a letter, a digit or an underscore; quality rules, which cut at
white space, are in `signals`. Left out: languages without spaces, whose runs are one word.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from trivium.core.seeds import mix

SEPARATOR = 0x0A  # stands after every document, so that no word reaches into the next one
_FIRST = np.uint64(0x9E3779B97F4A7C15)
_BASE = 0xD6E8FEB86659FD93  # odd, so it has an inverse mod 2^64
_POWER_BITS = 19  # of the number of powers at hand; longer texts than batches are multiplied part by part
_PLANES = 1 << 16  # characters above share classes and hashes with the one 65,536 below, but for a bit


@dataclass(frozen=True, slots=True)
class Text:
    """Documents end to end. codes_N: uint32 code points; start_D, end_D: int64, where each document lies, its separator not included."""

    codes_N: np.ndarray
    start_D: np.ndarray
    end_D: np.ndarray


@dataclass(frozen=True, slots=True)
class Words:
    """Words of a batch in order. start_W, end_W: int64 places in the text; first_D: (D + 1,) the first word of each document."""

    start_W: np.ndarray
    end_W: np.ndarray
    first_D: np.ndarray

    @property
    def document_W(self) -> np.ndarray:
        """The document of each word, int64."""
        return np.repeat(np.arange(len(self.first_D) - 1), np.diff(self.first_D))


def lay_out(texts: Sequence[str]) -> Text:
    """Texts end to end. A lone surrogate is a character like another here; readers refuse it before."""
    _keep_small_blocks()
    joined = chr(SEPARATOR).join(texts) + chr(SEPARATOR)
    order = "utf-32-le" if sys.byteorder == "little" else "utf-32-be"
    codes = np.frombuffer(joined.encode(order, "surrogatepass"), np.uint32)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    start = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]]).astype(np.int64) if len(texts) else np.zeros(0, np.int64)
    return Text(codes, start, start + lengths)


def split_at_punctuation(text: Text) -> Words:
    """Runs of letters, digits and underscores, as `re.findall(r"\\w+", text)` gives."""
    return runs(text, _is_word().take(_folded(text.codes_N)))


def hash_words(text: Text, words: Words) -> np.ndarray:
    """A hash of each word, (W,) uint64; case does not matter. Equal words are equal wherever they stand.

    A word is the number sum of h(c_i) B^i mod 2^64, from prefix sums over the whole text: sums of a range times B^-start.
    """
    codes = text.codes_N
    with np.errstate(over="ignore"):
        letters = _letter_hashes().take(_folded(codes))
        if len(codes) and int(codes.max()) >= _PLANES:
            letters = letters + codes.astype(np.uint64) // _PLANES * _FIRST
        sums = prefix_sums(letters)
        hashes = sums.take(words.end_W)
        hashes -= sums.take(words.start_W)
        hashes *= inverse_powers(words.start_W, len(codes))
        return mix(hashes)


def ngrams(hash_W: np.ndarray, words: Words, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all runs of `size` words within a document, (G,) uint64, and the word that each begins with, (G,) int64."""
    count = len(hash_W) - size + 1
    if count <= 0:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    with np.errstate(over="ignore"):
        gram = hash_W[:count].copy()
        for k in range(1, size):
            gram *= np.uint64(0x100000001B3)
            gram += hash_W[k : k + count]
    document = words.document_W
    inside = np.flatnonzero(document[:count] == document[size - 1 :])
    return mix(gram[inside]), inside


def runs(text: Text, inside_N: np.ndarray) -> Words:
    """The longest stretches that are inside, (N,) bool, as words; separators must be outside."""
    edge = np.flatnonzero(inside_N[1:] != inside_N[:-1]) + 1
    if len(inside_N) and inside_N[0]:
        edge = np.concatenate([[0], edge])
    start, end = edge[0::2], edge[1::2]  # the last character is a separator, so every word ends
    first = np.searchsorted(start, np.concatenate([text.start_D, [len(inside_N)]]))
    return Words(start, end, first)


def _folded(codes_N: np.ndarray) -> np.ndarray:
    return codes_N.astype(np.uint16)  # the low 16 bits


@cache
def _keep_small_blocks() -> None:
    """Free one large block, once: glibc then keeps smaller ones instead of handing them back and faulting them in again.

    mallopt(3), M_MMAP_THRESHOLD. Fresh memory was half of the time of an array operation here.
    """
    np.empty(24 << 20, np.uint8)


@cache
def _is_word() -> np.ndarray:
    """(65536,) bool: of each character whether it is a letter, a digit or an underscore."""
    return np.fromiter((letter.isalnum() or letter == "_" for letter in map(chr, range(_PLANES))), bool, _PLANES)


@cache
def _letter_hashes() -> np.ndarray:
    """(65536,) uint64: of each character in lower case."""
    lower = [letter.lower() for letter in map(chr, range(_PLANES))]
    return mix(np.fromiter((ord(one) if len(one) == 1 else code for code, one in enumerate(lower)), np.uint64, _PLANES))


def prefix_sums(terms_N: np.ndarray) -> np.ndarray:
    """Sums of terms_N[i] B^i mod 2^64 over all i below n, (N + 1,) uint64, n from 0 to N. Overwrites the terms."""
    up, size = _powers(_BASE), 1 << _POWER_BITS
    with np.errstate(over="ignore"):
        for start in range(0, len(terms_N), size):
            part = terms_N[start : start + size]
            part *= up[: len(part)]
            if start:
                part *= np.uint64(pow(_BASE, start, 1 << 64))
        sums = np.empty(len(terms_N) + 1, np.uint64)
        sums[0] = 0
        np.cumsum(terms_N, out=sums[1:])
    return sums


def inverse_powers(place_X: np.ndarray, num_places: int) -> np.ndarray:
    """B^-place mod 2^64, (X,) uint64, of places up to `num_places`."""
    size, inverse = 1 << _POWER_BITS, pow(_BASE, -1, 1 << 64)
    if num_places < size:
        return _powers(inverse).take(place_X)
    found = _powers(inverse).take(place_X & (size - 1))
    with np.errstate(over="ignore"):
        found *= _power_table(pow(inverse, size, 1 << 64), num_places // size + 1).take(place_X >> _POWER_BITS)
    return found


@cache
def _powers(base: int) -> np.ndarray:
    """(2^19,) uint64: base^i mod 2^64."""
    return _power_table(base, 1 << _POWER_BITS)


def _power_table(base: int, size: int) -> np.ndarray:
    table = np.ones(size, np.uint64)
    done = 1
    with np.errstate(over="ignore"):
        while done < size:
            step = min(done, size - done)
            table[done : done + step] = table[:step] * np.uint64(pow(base, done, 1 << 64))
            done += step
    return table
