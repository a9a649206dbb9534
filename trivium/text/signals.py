"""Signals: what quality rules count, for every document of a batch at once. Rules are thresholds over them.

Everything is computed when it is first read, from one look-up a character (`kinds`), the edges of words and the places of line feeds.
Words are what stands between white space. An array has one entry a document: (D,), int64 unless it says otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trivium.core.types import Document
from trivium.text import kinds as k
from trivium.text.repeats import Repeats, duplicates, total
from trivium.text.stretches import Stretches
from trivium.text.words import Text, Words, hash_words, lay_out, runs, split_at_punctuation

Reasons = list[str | None]  # one a document: None keeps it
SHORT_LINE_CHARS = 30
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
_LOREM_IPSUM = "lorem ipsum"


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of a batch. start_L, end_L: places in the text; document_L; word_L: the first word; next_L: the first word after the line."""

    start_L: np.ndarray
    end_L: np.ndarray
    document_L: np.ndarray
    word_L: np.ndarray
    next_L: np.ndarray


@dataclass(frozen=True, slots=True)
class Parts:
    """How many parts each document has, how many have been there before in it, and the characters of these."""

    count: np.ndarray
    duplicates: np.ndarray
    duplicate_chars: np.ndarray


class Signals:
    """A batch of documents and what can be counted in it."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.documents = documents

    def __len__(self) -> int:
        return len(self.documents)

    # --- characters

    @cached_property
    def text(self) -> Text:
        """All texts, end to end."""
        return lay_out([document.text for document in self.documents])

    @cached_property
    def num_chars(self) -> np.ndarray:
        """Characters."""
        return self.text.end_D - self.text.start_D

    @cached_property
    def num_line_feeds(self) -> np.ndarray:
        """Line feeds."""
        return np.bincount(self._lines.document_L, minlength=len(self)) - 1

    @cached_property
    def num_hashes(self) -> np.ndarray:
        """Hash signs."""
        return self._count(self._kinds_N == k.HASH)

    @cached_property
    def num_curly(self) -> np.ndarray:
        """Opening curly brackets."""
        return self._count(self._kinds_N == k.CURLY)

    @cached_property
    def num_ellipses(self) -> np.ndarray:
        """Ellipsis characters, and runs of three full stops."""
        start, end = _edges(self._kinds_N == k.FULL_STOP)
        stops = total(np.searchsorted(self.text.end_D, start), (end - start) // 3, len(self))
        return stops + self._count(self._kinds_N == k.ELLIPSIS)

    @cached_property
    def num_sentences(self) -> np.ndarray:
        """Ends of sentences: . ! or ? before white space, with nothing but closing quotes and brackets in between."""
        mark = np.flatnonzero(k.within(self._kinds_N, k.SENTENCE_ENDS))
        start, end = _edges(k.within(self._kinds_N, k.CLOSERS))
        after = mark + 1
        closed = np.flatnonzero(k.within(self._kinds_N[after], k.CLOSERS))
        after[closed] = end[np.searchsorted(start, after[closed])]  # their run begins there: what is before it is no closer
        return self._count_at(mark[self._kinds_N[after] <= k.LAST_WHITE])

    # --- words

    @cached_property
    def words(self) -> Words:
        """What stands between white space."""
        return runs(self.text, self._kinds_N > k.LAST_WHITE)

    @cached_property
    def num_words(self) -> np.ndarray:
        """Words."""
        return np.diff(self.words.first_D)

    @cached_property
    def num_word_chars(self) -> np.ndarray:
        """Characters of words: all that are not white space."""
        return np.diff(self._chars_before[self.words.first_D])

    @cached_property
    def num_words_with_letter(self) -> np.ndarray:
        """Words that have a letter."""
        start, end = self.words.start_W, self.words.end_W
        has_letter = self._first_W == k.LETTER
        other = np.flatnonzero(~has_letter)  # few: only they are read to their end
        size = end[other] - start[other]
        first = np.append(0, np.cumsum(size))[:-1]
        place = np.repeat(start[other] - first, size) + np.arange(size.sum())
        has_letter[other] = np.logical_or.reduceat(self._kinds_N[place] == k.LETTER, first) if len(other) else False
        return np.diff(_running_sum(has_letter)[self.words.first_D])

    @cached_property
    def num_stop_words(self) -> np.ndarray:
        """Different words of `STOP_WORDS`, in any case and with any of the usual marks around them: 0 to 8."""
        start, end = self._stripped_words
        size = end - start
        short = np.flatnonzero((size >= 2) & (size <= 4))
        codes = self.text.codes_N.take(start[short, None] + np.arange(4), mode="clip")
        small = np.where(codes < 0x80, codes | 0x20, ord(".")).astype(np.uint8)  # the small letter, where it is one
        four = small.view("<u4")[:, 0] & np.array([0, 0, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF], np.uint32)[size[short]]
        is_found = np.zeros((len(self), len(STOP_WORDS)), bool)
        for column, word in enumerate(STOP_WORDS):
            is_found[self._document_W[short[four == int.from_bytes(word.encode(), "little")]], column] = True
        return is_found.sum(1)

    @cached_property
    def has_lorem_ipsum(self) -> np.ndarray:
        """Whether "lorem ipsum" is there, in any case. (D,) bool."""
        codes, end = self.text.codes_N, self.words.end_W
        at = _LOREM_IPSUM.index(" ")
        end = end[(end >= at) & (end + len(_LOREM_IPSUM) - at <= len(codes))]
        for offset in (-1, 1, *range(-at, -1), *range(2, len(_LOREM_IPSUM) - at)):
            end = end[codes[end + offset] | 0x20 == ord(_LOREM_IPSUM[at + offset])]
        return self._count_at(end[codes[end] == ord(" ")]) > 0

    def top_ngram_chars(self, size: int) -> np.ndarray:
        """See `Repeats.top_chars`."""
        return self._repeats.top_chars(size)

    def duplicate_ngram_chars(self, size: int) -> np.ndarray:
        """See `Repeats.duplicate_chars`."""
        return self._repeats.duplicate_chars(size)

    @cached_property
    def bare_words(self) -> tuple[Words, np.ndarray]:
        """Runs of letters, digits and underscores, and a hash of each in small letters, (W,) uint64."""
        words = split_at_punctuation(self.text)
        return words, hash_words(self.text, words)

    # --- lines

    @cached_property
    def num_lines(self) -> np.ndarray:
        """Lines as `str.splitlines` gives them."""
        return self._number(self._split_lines.document_L)

    @cached_property
    def num_bullet_lines(self) -> np.ndarray:
        """Lines that begin with a bullet: •, - or *."""
        lines, words = self._with_words(self._split_lines), self.words
        return self._number(lines.document_L[k.within(self._kinds_N[words.start_W[lines.word_L]], k.BULLETS)])

    @cached_property
    def num_ellipsis_lines(self) -> np.ndarray:
        """Lines that end in … or in three full stops."""
        lines = self._with_words(self._split_lines)
        end = self.words.end_W[lines.next_L - 1]
        has_stops = np.logical_and.reduce([self._kinds_N[end - back] == k.FULL_STOP for back in (1, 2, 3)])
        return self._number(lines.document_L[has_stops | (self._kinds_N[end - 1] == k.ELLIPSIS)])

    @cached_property
    def num_text_lines(self) -> np.ndarray:
        """What stands between line feeds and is more than white space."""
        return self._number(self._text_lines.document_L)

    @cached_property
    def num_punctuated_lines(self) -> np.ndarray:
        """Text lines that end in . ! ? … or a closing quote, Chinese ones too."""
        last = self._kinds_N[self.words.end_W[self._text_lines.next_L - 1] - 1]
        latin, other = (k.within(last, bounds) for bounds in k.LINE_ENDS)
        return self._number(self._text_lines.document_L[latin | other])

    @cached_property
    def num_short_lines(self) -> np.ndarray:
        """Text lines of at most `SHORT_LINE_CHARS` characters."""
        lines = self._text_lines
        return self._number(lines.document_L[lines.end_L - lines.start_L <= SHORT_LINE_CHARS])

    @cached_property
    def duplicate_text_line_chars(self) -> np.ndarray:
        """Characters of text lines that have been there before."""
        lines = self._text_lines
        return self._parts(lines.document_L, lines.start_L, lines.end_L).duplicate_chars

    # --- parts of the text without the white space around it

    @cached_property
    def num_stripped_chars(self) -> np.ndarray:
        """Characters from the first word to the last."""
        first, last = self._stripped
        return last - first

    @cached_property
    def line_parts(self) -> Parts:
        """What stands between line feeds, empty parts left out."""
        return self._parts(*self._line_parts)

    @cached_property
    def paragraph_parts(self) -> Parts:
        """What stands between two or more line feeds."""
        document, start, end = self._line_parts
        is_first = np.ones(len(start), bool)
        is_first[1:] = (document[1:] != document[:-1]) | (start[1:] - end[:-1] >= 2)
        is_last = np.append(is_first[1:], True)[: len(start)]
        return self._parts(document[is_first], start[is_first], end[is_last])

    # --- what these share

    @cached_property
    def _kinds_N(self) -> np.ndarray:
        return k.kinds(self.text.codes_N)

    @cached_property
    def _document_W(self) -> np.ndarray:
        return self.words.document_W

    @cached_property
    def _stretches(self) -> Stretches:
        return Stretches(self.text)

    @cached_property
    def _repeats(self) -> Repeats:
        return Repeats(self.words, self._stretches.hashes(self.words.start_W, self.words.end_W), self._chars_before)

    @cached_property
    def _chars_before(self) -> np.ndarray:
        """Characters of all words before each, (W + 1,)."""
        return _running_sum(self.words.end_W - self.words.start_W)

    @cached_property
    def _stripped_words(self) -> tuple[np.ndarray, np.ndarray]:
        """Words without the marks around them; one that is nothing else ends before it starts."""
        start, end = self.words.start_W.copy(), self.words.end_W.copy()
        mark_start, mark_end = _edges(k.within(self._kinds_N, k.AROUND_WORDS))
        opened = np.flatnonzero(k.within(self._first_W, k.AROUND_WORDS))
        closed = np.flatnonzero(k.within(self._kinds_N[end - 1], k.AROUND_WORDS))
        start[opened] = mark_end[np.searchsorted(mark_start, start[opened])]
        end[closed] = mark_start[np.searchsorted(mark_end, end[closed])]
        return start, end

    @cached_property
    def _first_W(self) -> np.ndarray:
        """The kind of the first character of each word."""
        return self._kinds_N[self.words.start_W]

    @cached_property
    def _lines(self) -> Lines:
        """What stands between line feeds."""
        return self._lines_that_end_at(np.flatnonzero(self._kinds_N == k.LINE_FEED))

    @cached_property
    def _text_lines(self) -> Lines:
        return self._with_words(self._lines)

    @cached_property
    def _split_lines(self) -> Lines:
        """As `str.splitlines`: more breaks than line feeds, a return before a line feed is none, nothing follows a break at the end."""
        end = np.flatnonzero(self._kinds_N <= k.LAST_BREAK)
        lines = self._lines
        if len(end) > len(lines.end_L):
            returns = np.flatnonzero(self._kinds_N[end] == k.RETURN)  # never the last character: that is a separator
            lines = self._lines_that_end_at(np.delete(end, returns[self._kinds_N[end[returns] + 1] == k.LINE_FEED]))
        return _some(lines, (lines.start_L < lines.end_L) | (lines.end_L != self.text.end_D[lines.document_L]))

    def _lines_that_end_at(self, end_L: np.ndarray) -> Lines:
        last = np.searchsorted(end_L, self.text.end_D, "right")
        document = np.repeat(np.arange(len(self)), np.diff(last, prepend=0))
        after = np.searchsorted(self.words.start_W, end_L)
        return Lines(np.append(0, end_L + 1)[:-1], end_L, document, np.append(0, after)[:-1], after)

    def _with_words(self, lines: Lines) -> Lines:
        return _some(lines, lines.word_L < lines.next_L)

    @cached_property
    def _stripped(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the first word of each document begins and its last one ends; the same place if there is none."""
        first, last = self.text.start_D.copy(), self.text.start_D.copy()
        some = np.flatnonzero(self.num_words)
        first[some] = self.words.start_W[self.words.first_D[some]]
        last[some] = self.words.end_W[self.words.first_D[some + 1] - 1]
        return first, last

    @cached_property
    def _line_parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Document, start and end of the lines of the stripped text that are not empty."""
        lines, (first, last) = self._lines, self._stripped
        start = np.maximum(lines.start_L, first[lines.document_L])
        end = np.minimum(lines.end_L, last[lines.document_L])
        some = start < end
        return lines.document_L[some], start[some], end[some]

    def _parts(self, document_X: np.ndarray, start_X: np.ndarray, end_X: np.ndarray) -> Parts:
        again, chars = duplicates(document_X, self._stretches.hashes(start_X, end_X), end_X - start_X, len(self))
        return Parts(self._number(document_X), again, chars)

    def _number(self, document_X: np.ndarray) -> np.ndarray:
        return np.bincount(document_X, minlength=len(self))

    def _count(self, is_it_N: np.ndarray) -> np.ndarray:
        return self._count_at(np.flatnonzero(is_it_N))

    def _count_at(self, place_X: np.ndarray) -> np.ndarray:
        """How many of the places, rising, are in each document."""
        return np.diff(np.searchsorted(place_X, self.text.end_D, "right"), prepend=0)


def first_of(*rules: tuple[str, np.ndarray]) -> Reasons:
    """For each document the first reason whose array, (D,) bool, says so; None if none does."""
    reasons: Reasons = [None] * len(rules[0][1])
    for reason, is_so_D in reversed(rules):
        for number in np.flatnonzero(is_so_D):
            reasons[number] = reason
    return reasons


def share(part_D: np.ndarray, whole_D: np.ndarray) -> np.ndarray:
    """part / whole, (D,) float64; 0 where there is nothing of the whole."""
    return np.divide(part_D, whole_D, out=np.zeros(len(part_D)), where=whole_D > 0)


def _running_sum(amount_X: np.ndarray) -> np.ndarray:
    """(X + 1,) int64, from 0."""
    sums = np.zeros(len(amount_X) + 1, np.int64)
    np.cumsum(amount_X, out=sums[1:])
    return sums


def _edges(is_it_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each run of what is true begins and ends; for what is true seldom."""
    place = np.flatnonzero(is_it_N)
    gap = np.flatnonzero(np.diff(place) != 1)
    if not len(place):
        return place, place
    return place[np.append(0, gap + 1)], place[np.append(gap, len(place) - 1)] + 1


def _some(lines: Lines, is_kept_L: np.ndarray) -> Lines:
    return Lines(*(part[is_kept_L] for part in (lines.start_L, lines.end_L, lines.document_L, lines.word_L, lines.next_L)))
