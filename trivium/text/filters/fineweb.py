"""FineWeb: drops lists, menus and other text that is not made of sentences."""

from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.text.signals import Reasons, Signals, first_of, share


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
    max_duplicate_line_chars: float = Field(default=0.01, ge=0, le=1)
    max_newlines_per_word: float = Field(default=0.3, ge=0)

    def judge(self, signals: Signals) -> Reasons:
        """The reason to drop each document, or None."""
        lines, num_chars = signals.num_text_lines, signals.num_chars - signals.num_line_feeds
        return first_of(
            ("no text", lines == 0),
            ("too few lines end in punctuation", share(signals.num_punctuated_lines, lines) < self.min_punctuated_lines),
            ("too many short lines", share(signals.num_short_lines, lines) > self.max_short_lines),
            ("too many repeated lines", share(signals.duplicate_text_line_chars, num_chars) > self.max_duplicate_line_chars),
            ("too many newlines", share(signals.num_line_feeds, signals.num_words) > self.max_newlines_per_word),
        )
