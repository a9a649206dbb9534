"""Substrings that occur before, exact and of any length from some hundred characters on. Later copies are named, the first stays.

Left out: a suffix array of the corpus, which finds the same and needs several times the text's memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from trivium.core.errors import ConfigError
from trivium.core.seeds import mix
from trivium.text.dedup.lines import Span, merged
from trivium.text.dedup.minhash import batches
from trivium.text.words import lay_out

SHORTEST_COPY = 32  # characters; shorter phrases are ordinary language
_BYTES_PER_CHAR = 0.5  # of anchors, about
_MAX_ROUNDS = 100  # in which copies of one anchor are compared with one of them
_FACTOR = 0xD6E8FEB86659FD93


class Texts(Protocol):
    """All texts in order, as often as needed, and each by its number; a list, or texts on disk."""

    def __getitem__(self, index: int, /) -> str: ...
    def __iter__(self) -> Iterator[str]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class SubstringDedup:
    """Texts -> spans of each that stand, character for character, in a text before it or earlier in itself.

    Lee et al. 2022, arXiv:2107.06499, section 4.1: substrings of 50 tokens, here 200 characters. Found by winnowing (Schleimer,
    Wilkerson, Aiken 2003, section 3) instead of a suffix array: of the hashes of all short windows only the smallest of each
    neighbourhood are kept, chosen so that every match of `min_chars` holds one. Windows with equal hashes are compared as text and
    grown to both sides, so nothing is named that is no copy; a copy is missed only where more than 100 different
    continuations of one passage meet, or next to a long row of one character. Spans end at white space, so no word is cut in two.

    memory_bytes: for anchors, half a byte a character; when there is less, the texts are read in as many passes. The texts
    themselves have to be at hand. About 10 MB/s on one core, and more for what repeats.
    """

    min_chars: int = 200
    memory_bytes: int = 1 << 32

    def __post_init__(self) -> None:
        if self.min_chars < SHORTEST_COPY:
            raise ConfigError(f"min_chars is {self.min_chars}; below {SHORTEST_COPY} characters ordinary phrases are copies (200 is usual)")

    def __call__(self, texts: Texts) -> dict[int, list[Span]]:
        """Number of a text -> its spans, in order and apart; texts without any are left out."""
        found: dict[int, list[Span]] = {}
        parts = max(1, round(_BYTES_PER_CHAR * sum(len(text) for text in texts) / self.memory_bytes + 0.5))
        for part in range(parts):
            self._match(texts, *self._anchors(texts, part, parts), found)
        joined = {number: list(_joined(texts[number], spans, self.min_chars)) for number, spans in sorted(found.items())}
        return {number: spans for number, spans in joined.items() if spans}

    @property
    def window(self) -> int:
        """Characters of a window: the largest power of two that is at most half of a match."""
        return 1 << ((self.min_chars // 2).bit_length() - 1)

    def _anchors(self, texts: Texts, part: int, parts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Hash, text and place of the windows that were chosen, sorted by hash, text and place."""
        found, done = [(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64))], 0
        for batch in batches(texts):
            text = lay_out(batch)
            hashes = _window_hashes(text.codes_N, self.window)
            place = np.flatnonzero(_smallest_nearby(hashes, self.min_chars - self.window + 1))
            number = np.searchsorted(text.start_D, place, "right") - 1
            inside = (place + self.window <= text.end_D[number]) & (hashes[place] % np.uint64(parts) == part)
            place, number = place[inside], number[inside]
            found.append((hashes[place], number + done, place - text.start_D[number]))
            done += len(batch)
        hash_A, number_A, place_A = map(np.concatenate, zip(*found, strict=True))
        order = np.argsort(hash_A, kind="stable")  # batches are in order of text and place
        return hash_A[order], number_A[order], place_A[order]

    def _match(
        self, texts: Texts, hash_A: np.ndarray, number_A: np.ndarray, place_A: np.ndarray, found: dict[int, list[Span]]
    ) -> None:  # fmt: skip
        """Compare windows of equal hashes with the first of them, and note what they share in the later text."""
        edges = np.flatnonzero(hash_A[1:] != hash_A[:-1]) + 1
        starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(hash_A)]])
        several = ends - starts > 1
        for start, end in zip(starts[several].tolist(), ends[several].tolist(), strict=True):
            group = list(zip(number_A[start:end].tolist(), place_A[start:end].tolist(), strict=True))
            for _ in range(_MAX_ROUNDS):
                if len(group) < 2:
                    break
                group = self._round(texts, group, found)

    def _round(self, texts: Texts, group: list[tuple[int, int]], found: dict[int, list[Span]]) -> list[tuple[int, int]]:
        """Those of the group that share too little with its first."""
        (first, origin), *others = group
        left = []
        for number, place in others:
            if any(start <= place and place + self.window <= end for start, end in found.get(number, ())):
                continue
            before, after = _shared(texts[first], origin, texts[number], place)
            if before + after >= self.min_chars:
                found.setdefault(number, []).append((place - before, place + after))
            else:
                left.append((number, place))
        return left


def _window_hashes(codes_N: np.ndarray, size: int) -> np.ndarray:
    """Hash of the `size` characters from each place on, (N,) uint64, by doubling; beyond the end there are zeros. size: power of two."""
    hashes, length = mix(codes_N.astype(np.uint64)), 1
    while length < size:
        longer = hashes * np.uint64(pow(_FACTOR, length, 1 << 64))
        longer[:-length] += hashes[length:]
        hashes, length = longer, 2 * length
    return mix(hashes)


def _smallest_nearby(hashes: np.ndarray, count: int) -> np.ndarray:
    """Whether each is the smallest of some run of at most `count` neighbours it stands in, (N,) bool. Of equal neighbours the first."""
    size = 1 << (count.bit_length() - 1)
    low = _slide(hashes, size, np.minimum)  # of the run that begins here
    high = _slide(low[::-1], size, np.maximum)[::-1]  # the largest of these over all runs that hold this place
    chosen = high == hashes
    chosen[1:] &= hashes[1:] != hashes[:-1]
    return chosen


def _slide(values: np.ndarray, size: int, choose: np.ufunc) -> np.ndarray:
    """`choose` over the `size` entries from each place on, fewer at the end. size: a power of two."""
    chosen, length = values.copy(), 1
    while length < size and length < len(values):
        chosen[:-length] = choose(chosen[:-length], chosen[length:].copy())
        length *= 2
    return chosen


def _shared(one: str, at_one: int, other: str, at_other: int) -> tuple[int, int]:
    """How many characters two texts share before and from these places on."""
    after = _common(one, at_one, other, at_other, 1)
    return _common(one, at_one, other, at_other, -1), after


def _common(one: str, at_one: int, other: str, at_other: int, way: int) -> int:
    """Length of what they share from these places on (way 1) or before them (way -1): steps that double, and halve at a difference."""
    longest = min(len(one) - at_one, len(other) - at_other) if way > 0 else min(at_one, at_other)
    shared, step = 0, 64
    while step and shared < longest:
        step = min(step, longest - shared)
        a, b = at_one + way * shared, at_other + way * shared
        is_equal = one[a : a + step] == other[b : b + step] if way > 0 else one[a - step : a] == other[b - step : b]
        if is_equal:
            shared += step
            step *= 2
        else:
            step //= 2
    return shared


def _joined(text: str, spans: list[Span], min_chars: int) -> Iterator[Span]:
    """Spans in order, overlapping ones as one, drawn in to white space; what becomes much shorter than a match is left out."""
    for start, end in merged(spans):
        low, high = start, end
        while low < high and low > 0 and not text[low - 1].isspace():
            low += 1
        while high > low and high < len(text) and not text[high].isspace():
            high -= 1
        if high - low >= min_chars // 2:
            yield low, high
