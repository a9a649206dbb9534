"""Gopher's quality rules: drops what does not look like prose."""

from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.text.signals import STOP_WORDS, Reasons, Signals, first_of, share


@component
class GopherQuality:
    """Seven counts of words and lines.

    Rae et al. 2021, arXiv:2112.11446, section A.1.1, thresholds as there: 50 to 100,000 words, mean length 3 to 10
    characters, at most 0.1 hash signs or ellipses a word, at most 0.9 of the lines bullets and 0.3 ending in an ellipsis,
    at least 0.8 of the words with a letter, at least two different words of {the, be, to, of, and, that, have, with}.
    Differences: words are separated by white space, so punctuation belongs to the word before it and is cut off only
    to recognise stop words; a bullet is •, - or *.
    """

    kind: Literal["gopher_quality"] = "gopher_quality"
    min_words: int = Field(default=50, ge=0)
    max_words: int = Field(default=100_000, ge=1)
    min_mean_word_chars: float = Field(default=3.0, ge=0)
    max_mean_word_chars: float = Field(default=10.0, ge=0)
    max_symbols_per_word: float = Field(default=0.1, ge=0)
    max_bullet_lines: float = Field(default=0.9, ge=0, le=1)
    max_ellipsis_lines: float = Field(default=0.3, ge=0, le=1)
    min_words_with_letter: float = Field(default=0.8, ge=0, le=1)
    min_stop_words: int = Field(default=2, ge=0, le=len(STOP_WORDS))

    def judge(self, signals: Signals) -> Reasons:
        """The reason to drop each document, or None."""
        words, lines = signals.num_words, signals.num_lines
        mean_chars = share(signals.num_word_chars, words)
        return first_of(
            ("too few words", words < max(self.min_words, 1)),
            ("too many words", words > self.max_words),
            ("words too short", mean_chars < self.min_mean_word_chars),
            ("words too long", mean_chars > self.max_mean_word_chars),
            ("too few words with a letter", share(signals.num_words_with_letter, words) < self.min_words_with_letter),
            ("too few stop words", signals.num_stop_words < self.min_stop_words),
            ("too many hash signs", share(signals.num_hashes, words) > self.max_symbols_per_word),
            ("too many ellipses", share(signals.num_ellipses, words) > self.max_symbols_per_word),
            ("too many bullet lines", share(signals.num_bullet_lines, lines) > self.max_bullet_lines),
            ("too many lines end in an ellipsis", share(signals.num_ellipsis_lines, lines) > self.max_ellipsis_lines),
        )
