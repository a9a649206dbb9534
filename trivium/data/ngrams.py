"""Where a phrase of tokens stands in a stream, and which phrases of a text stand there: one pass over the map, no index.

A suffix array answers in microseconds, but takes longer to build than a thousand questions take here, and four times the space of the
tokens; a pass takes a second for 20 to 40 million tokens (LOG.md), which is what one waits for anyway.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

_CHUNK = 1 << 16  # positions looked at in one go: what is made of them stays in the processor's cache


class Stream(Protocol):
    """Token ids that can be sliced: an array, a memory map, or files that are read as one."""

    def __len__(self) -> int: ...
    def __getitem__(self, wanted: slice, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Match:
    """query[first : first + length] stands in the stream at each of `starts`, and none of its tokens is in a longer match at its place."""

    first: int
    length: int
    starts: np.ndarray


def occurrences(tokens: Stream, phrase: np.ndarray) -> np.ndarray:
    """Where a phrase of at least one token begins in a stream, ascending."""
    found = [np.empty(0, np.int64)]
    for begin in range(0, len(tokens) - len(phrase) + 1, _CHUNK) if len(phrase) else ():
        part = tokens[begin : begin + _CHUNK + len(phrase) - 1]
        starts = np.flatnonzero(part[: len(part) - len(phrase) + 1] == phrase[0])
        found.append(begin + _extended(part, starts, phrase, 1, len(phrase)))
    return np.concatenate(found)


def longest_matches(tokens: np.ndarray, query: np.ndarray, *, shortest: int) -> list[Match]:
    """The longest phrases of a query that stand in a stream, `shortest` tokens or more (at least 2), longest first.

    A phrase that is part of a longer one of the query is left out, though it may stand at more places. Cost: one pass over the stream,
    whatever the length of the query, and the number of places where two neighbours of the query stand side by side.
    """
    if len(query) < 2:
        return []
    query = np.asarray(query, np.int64)
    found = list(_pairs(tokens, query))
    starts, codes = (np.concatenate(column) for column in zip(*found, strict=True)) if found else (np.empty(0, np.int64),) * 2
    order = np.argsort(codes, kind="stable")
    starts, codes = starts[order], codes[order]
    wanted = _codes(query, np.unique(query))
    matches, reached = [], 0  # the end of the match before: one that ends there too is a part of it
    for first, code in enumerate(wanted):
        here = starts[np.searchsorted(codes, code) : np.searchsorted(codes, code, side="right")]
        match = _longest(tokens, here, query, first)
        if match.length >= max(2, shortest) and match.first + match.length > reached:
            matches.append(match)
        reached = max(reached, match.first + match.length)
    return sorted(matches, key=lambda match: -match.length)


def _longest(tokens: np.ndarray, starts: np.ndarray, query: np.ndarray, first: int) -> Match:
    """From where the first two tokens stand to where most of them do."""
    length = min(len(starts), 1) * 2
    while len(starts) and first + length < len(query):
        going_on = _extended(tokens, starts, query[first:], length, length + 1)
        if not len(going_on):
            break
        starts, length = going_on, length + 1
    return Match(first, length, starts)


def _extended(tokens: np.ndarray, starts: np.ndarray, phrase: np.ndarray, known: int, length: int) -> np.ndarray:
    """Of starts where `known` tokens of a phrase stand, those where `length` do."""
    starts = starts[starts + length <= len(tokens)]
    for number in range(known, length):
        starts = starts[tokens[starts + number] == phrase[number]]
    return starts


def _pairs(tokens: np.ndarray, query: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(starts, codes) of every place in the stream where two neighbours of the query are neighbours, chunk by chunk."""
    words = np.unique(query)
    rank = np.zeros(max(int(words[-1]) + 1, np.iinfo(tokens.dtype).max + 1 if tokens.dtype.itemsize <= 2 else 0), np.int32)
    rank[words] = np.arange(1, len(words) + 1)
    is_wanted = np.zeros((len(words) + 1) ** 2, bool)
    is_wanted[_codes(query, words)] = True
    for begin in range(0, len(tokens) - 1, _CHUNK):
        part = tokens[begin : begin + _CHUNK + 1]
        ranks = rank[part] if tokens.dtype.itemsize <= 2 else np.where(part < len(rank), rank[np.minimum(part, len(rank) - 1)], 0)
        codes = ranks[:-1] * (len(words) + 1) + ranks[1:]
        here = np.flatnonzero(is_wanted[codes])
        if len(here):
            yield begin + here, codes[here]


def _codes(query: np.ndarray, words: np.ndarray) -> np.ndarray:
    """One number for each pair of neighbours; 0 stands for tokens that are not in the query."""
    ranks = np.searchsorted(words, query) + 1
    return ranks[:-1] * (len(words) + 1) + ranks[1:]
