"""Gopher's repetition rules: drops text that says the same again and again."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Document

_PARAGRAPHS, _LINES = re.compile(r"\n{2,}"), re.compile(r"\n+")


@component
class GopherRepetition:
    """Shares of repeated lines, paragraphs and n-grams.

    Rae et al. 2021, arXiv:2112.11446, table A1, thresholds as there; a share at the threshold is kept. Differences, both
    towards keeping: a most frequent n-gram that occurs once is no repetition, and an n-gram does not overlap itself.
    Words are separated by white space. About 2.5 MB/s on one core.
    """

    kind: Literal["gopher_repetition"] = "gopher_repetition"
    max_duplicate_lines: float = Field(default=0.3, ge=0, le=1)
    max_duplicate_paragraphs: float = Field(default=0.3, ge=0, le=1)
    max_duplicate_line_chars: float = Field(default=0.2, ge=0, le=1)
    max_duplicate_paragraph_chars: float = Field(default=0.2, ge=0, le=1)
    max_top_ngram_chars: dict[int, float] = Field(default={2: 0.2, 3: 0.18, 4: 0.16})
    max_duplicate_ngram_chars: dict[int, float] = Field(default={5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10})

    def __call__(self, document: Document) -> str | None:
        """The reason to drop the document, or None."""
        text = document.text.strip()
        if not text:
            return "no text"
        return self._parts(text) or self._ngrams(text)

    def _parts(self, text: str) -> str | None:
        for name, split, max_parts, max_chars in (
            ("paragraphs", _PARAGRAPHS, self.max_duplicate_paragraphs, self.max_duplicate_paragraph_chars),
            ("lines", _LINES, self.max_duplicate_lines, self.max_duplicate_line_chars),
        ):
            parts = split.split(text)
            num_parts, num_chars = duplicates(parts)
            if num_parts / len(parts) > max_parts:
                return f"too many repeated {name}"
            if num_chars / len(text) > max_chars:
                return f"too many characters in repeated {name}"
        return None

    def _ngrams(self, text: str) -> str | None:
        words = text.split()
        for size, limit in self.max_top_ngram_chars.items():
            if top_ngram_chars(words, size) / len(text) > limit:
                return f"one {size}-gram too often"
        for size, limit in self.max_duplicate_ngram_chars.items():
            if duplicate_ngram_chars(words, size) / len(text) > limit:
                return f"too many repeated {size}-grams"
        return None


def duplicates(parts: Sequence[str]) -> tuple[int, int]:
    """How many parts have been there before, and their characters."""
    seen: set[str] = set()
    again = [part for part in parts if part in seen or seen.add(part)]  # type: ignore[func-returns-value]
    return len(again), sum(map(len, again))


def top_ngram_chars(words: Sequence[str], size: int) -> int:
    """Characters (single spaces included) of all occurrences of the n-gram that covers most; 0 if nothing repeats."""
    grams = Counter(zip(*(words[start:] for start in range(size)), strict=False))
    return max((count * (sum(map(len, gram)) + size - 1) for gram, count in grams.items() if count > 1), default=0)


def duplicate_ngram_chars(words: Sequence[str], size: int) -> int:
    """Characters, without spaces, in n-grams that have been there before; a character counts once."""
    seen: set[tuple[str, ...]] = set()
    at = total = 0
    while at <= len(words) - size:
        gram = tuple(words[at : at + size])
        if gram in seen:
            total += sum(map(len, gram))
            at += size
        else:
            seen.add(gram)
            at += 1
    return total
