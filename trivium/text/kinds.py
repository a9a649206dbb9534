"""Kinds of characters, numbered so that every class that a rule asks for is a range: one look-up a character serves all rules.

White space is what `str.split` splits at, a line break what `str.splitlines` splits at, a letter what `str.isalpha` says.
"""

from functools import cache

import numpy as np

LINE_FEED, RETURN, LAST_BREAK, LAST_WHITE = 0, 1, 2, 3
LETTER, OTHER = 4, 5
_MARKS = ".!?\"'”’)],;:([“‘…。！？#{•-*"  # in the order that makes the classes below ranges
_FIRST_MARK = OTHER + 1
_TABLE = 1 << 16


def _of(first: str, last: str) -> tuple[int, int]:
    return _FIRST_MARK + _MARKS.index(first), _FIRST_MARK + _MARKS.index(last)


FULL_STOP = _of(".", ".")[0]
SENTENCE_ENDS = _of(".", "?")
CLOSERS = _of('"', "]")  # may stand between the end of a sentence and the white space after it
LINE_ENDS = (_of(".", "’"), _of("…", "？"))
AROUND_WORDS = _of(".", "‘")
BULLETS = _of("•", "*")
ELLIPSIS, HASH, CURLY = _of("…", "…")[0], _of("#", "#")[0], _of("{", "{")[0]


def kinds(codes_N: np.ndarray) -> np.ndarray:
    """The kind of each code point, (N,) uint8."""
    kind = _kinds().take(codes_N, mode="clip")  # U+FFFF, where what lies above ends, is no character
    if len(codes_N) and int(codes_N.max()) >= _TABLE:  # no white space and no mark lives there
        above = np.flatnonzero(codes_N >= _TABLE)
        codes, which = np.unique(codes_N[above], return_inverse=True)
        kind[above] = np.array([LETTER if chr(code).isalpha() else OTHER for code in codes], np.uint8)[which]
    return kind


def within(kinds_N: np.ndarray, bounds: tuple[int, int]) -> np.ndarray:
    """Which kinds are in a class, (N,) bool."""
    first, last = bounds
    return (kinds_N - np.uint8(first)) <= np.uint8(last - first)  # wraps below the first


@cache
def _kinds() -> np.ndarray:
    table = np.full(_TABLE, OTHER, np.uint8)
    for code, letter in enumerate(map(chr, range(_TABLE))):
        if letter.isspace():
            table[code] = LAST_BREAK if len(f"a{letter}b".splitlines()) == 2 else LAST_WHITE
        elif letter.isalpha():
            table[code] = LETTER
    table[[ord("\n"), ord("\r")]] = LINE_FEED, RETURN
    table[[ord(mark) for mark in _MARKS]] = np.arange(len(_MARKS)) + _FIRST_MARK
    return table
