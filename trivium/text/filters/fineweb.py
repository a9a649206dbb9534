"""FineWeb: drops lists, menus and other text that is not made of sentences."""

from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Document
from trivium.text.filters.gopher_repetition import duplicates

_SENTENCE_ENDS = (".", "!", "?", "'", '"', "’", "”", "…", "。", "！", "？")


@component
class FineWeb:
    """Three ratios chosen by ablation, and the share of newlines.

    Penedo et al. 2024, arXiv:2406.17557, section 3.6; thresholds as in datatrove's fineweb_quality_filter: drop when
    fewer than 0.12 of the lines end in punctuation, more than 0.67 of them have at most 30 characters, more than 0.01 of
    the characters are in repeated lines, or there are more than 0.3 newlines a word. Differences: words are separated by
    white space, blank lines are no lines, and typographic and Chinese punctuation ends a sentence too.
    """

    kind: Literal["fineweb"] = "fineweb"
    min_punctuated_lines: float = Field(default=0.12, ge=0, le=1)
    max_short_lines: float = Field(default=0.67, ge=0, le=1)
    short_line_chars: int = Field(default=30, ge=0)
    max_duplicate_line_chars: float = Field(default=0.01, ge=0, le=1)
    max_newlines_per_word: float = Field(default=0.3, ge=0)

    def __call__(self, document: Document) -> str | None:
        """The reason to drop the document, or None."""
        text = document.text
        lines = [line for line in text.split("\n") if line.strip()]
        if not lines:
            return "no text"
        if sum(line.rstrip().endswith(_SENTENCE_ENDS) for line in lines) / len(lines) < self.min_punctuated_lines:
            return "too few lines end in punctuation"
        if sum(len(line) <= self.short_line_chars for line in lines) / len(lines) > self.max_short_lines:
            return "too many short lines"
        if duplicates(lines)[1] / len(text.replace("\n", "")) > self.max_duplicate_line_chars:
            return "too many repeated lines"
        return "too many newlines" if text.count("\n") / len(text.split()) > self.max_newlines_per_word else None
