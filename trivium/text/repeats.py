"""What comes again: parts and n-grams of words that a document has said before, for a whole batch at once.

An n-gram can come again only if both of its (n-1)-grams do, so each size looks at what the size below has left: of ordinary prose
a quarter of the 2-grams, a hundredth of the 5-grams.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trivium.core.seeds import mix
from trivium.text.words import Words

_PLACE_BITS = 20  # so that two different keys are taken for one with probability 2^-44 at most
_FIRST_FACTOR, _DOCUMENT_FACTOR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)


@dataclass(frozen=True, slots=True)
class _Level:
    """The n-grams of one size that a document has more than once. place_P: the word each begins with, rising; gram_P: which one it is."""

    place_P: np.ndarray
    gram_P: np.ndarray


class Repeats:
    """Repeated n-grams of the words of a batch; a size is computed when it is asked for.

    hash_W: (W,) uint64, equal for equal words. chars_before: (W + 1,) int64, the characters of all words before each.
    Words of one document are never compared with those of another.
    """

    def __init__(self, words: Words, hash_W: np.ndarray, chars_before: np.ndarray) -> None:
        self._hash_W, self._document_W, self._num_documents = hash_W, words.document_W, len(words.first_D) - 1
        self._chars = chars_before
        self._levels: dict[int, _Level] = {}

    def top_chars(self, size: int) -> np.ndarray:
        """Characters, single spaces included, of all occurrences of the n-gram that covers most; 0 if none comes again. (D,) int64."""
        level, top_D = self._level(size), np.zeros(self._num_documents, np.int64)
        count = np.bincount(level.gram_P)
        place = np.empty(len(count), np.int64)
        place[level.gram_P] = level.place_P
        np.maximum.at(top_D, self._document_W[place], count * (self._chars[place + size] - self._chars[place] + size - 1))
        return top_D

    def duplicate_chars(self, size: int) -> np.ndarray:
        """Characters, without spaces, in n-grams that have been there before, read from left to right; each counts once. (D,) int64."""
        level = self._level(size)
        again = np.array(_again(level.place_P.tolist(), level.gram_P.tolist(), size), np.int64)
        return total(self._document_W[again], self._chars[again + size] - self._chars[again], self._num_documents)

    def _level(self, size: int) -> _Level:
        if size not in self._levels:
            self._levels[size] = self._smallest(size) if size <= 2 else self._from_below(self._level(size - 1))
        return self._levels[size]

    def _smallest(self, size: int) -> _Level:
        """All words, or all pairs of neighbours within a document."""
        with np.errstate(over="ignore"):
            key = self._hash_W + self._document_W.astype(np.uint64) * _DOCUMENT_FACTOR
            if size == 1:
                return _repeated(np.arange(len(key)), mix(key))
            place = np.flatnonzero(self._document_W[1:] == self._document_W[:-1])
            return _repeated(place, mix(key[place] * _FIRST_FACTOR + key[place + 1]))

    def _from_below(self, below: _Level) -> _Level:
        """Two neighbours of the size below are one n-gram, and it is known by the two numbers that they have."""
        left = np.flatnonzero(below.place_P[1:] == below.place_P[:-1] + 1)
        gram_P = below.gram_P.astype(np.uint64)
        return _repeated(below.place_P[left], mix(gram_P[left] << np.uint64(32) | gram_P[left + 1]))


def duplicates(document_X: np.ndarray, hash_X: np.ndarray, chars_X: np.ndarray, num_documents: int) -> tuple[np.ndarray, np.ndarray]:
    """How many parts of each document have been there before in it, and their characters; both (D,) int64."""
    with np.errstate(over="ignore"):
        order, is_same = _sorted(mix(hash_X + document_X.astype(np.uint64) * _DOCUMENT_FACTOR))
    again = order[is_same]
    return np.bincount(document_X[again], minlength=num_documents), total(document_X[again], chars_X[again], num_documents)


def total(document_X: np.ndarray, amount_X: np.ndarray, num_documents: int) -> np.ndarray:
    """The sum of amounts of each document, (D,) int64; exact below 2^53."""
    return np.bincount(document_X, amount_X, num_documents).astype(np.int64)


def _again(places: Sequence[int], grams: Sequence[int], size: int) -> list[int]:
    """Where an n-gram comes again; what such a one covers is not looked at. Grams of different documents are different."""
    seen: set[int] = set()
    again, free = [], 0
    for place, gram in zip(places, grams, strict=True):
        if place < free:
            continue
        if gram in seen:
            again.append(place)
            free = place + size
        else:
            seen.add(gram)
    return again


def _repeated(place_X: np.ndarray, key_X: np.ndarray) -> _Level:
    """Those whose key is there more than once."""
    order, is_same = _sorted(key_X)
    is_repeated = is_same.copy()
    is_repeated[:-1] |= is_same[1:]
    found = np.flatnonzero(is_repeated)
    both = order[found] << 32 | np.cumsum(~is_same[found]) - 1  # place and gram are sorted as one number
    both.sort()
    return _Level(place_X[both >> 32], both & 0xFFFFFFFF)


def _sorted(key_X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An order with equal keys side by side, the earlier first, and whether each is equal to the one before it; (X,) int64, (X,) bool.

    The place travels in the low bits of the key: numbers alone are sorted five times as fast as an order of them.
    """
    bits = np.uint64(len(key_X).bit_length())
    is_same = np.zeros(len(key_X), bool)
    if bits > _PLACE_BITS:
        order = np.argsort(key_X, kind="stable")
        is_same[1:] = key_X[order[1:]] == key_X[order[:-1]]
        return order, is_same
    packed = (key_X >> bits << bits) | np.arange(len(key_X), dtype=np.uint64)
    packed.sort()
    order = (packed & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    packed >>= bits
    is_same[1:] = packed[1:] == packed[:-1]
    return order, is_same
