"""Gopher's repetition rules: drops text that says the same again and again."""

from typing import Annotated, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.text.signals import Reasons, Signals, first_of, share

Size = Annotated[int, Field(ge=1, le=100)]  # words


@component
class GopherRepetition:
    """Shares of repeated lines, paragraphs and n-grams.

    Rae et al. 2021, arXiv:2112.11446, table A1, thresholds as there; a share at the threshold is kept. Differences, both
    towards keeping: a most frequent n-gram that occurs once is no repetition, and an n-gram does not overlap itself.
    Words are separated by white space.
    """

    kind: Literal["gopher_repetition"] = "gopher_repetition"
    max_duplicate_lines: float = Field(default=0.3, ge=0, le=1)
    max_duplicate_paragraphs: float = Field(default=0.3, ge=0, le=1)
    max_duplicate_line_chars: float = Field(default=0.2, ge=0, le=1)
    max_duplicate_paragraph_chars: float = Field(default=0.2, ge=0, le=1)
    max_top_ngram_chars: dict[Size, float] = Field(default={2: 0.2, 3: 0.18, 4: 0.16})
    max_duplicate_ngram_chars: dict[Size, float] = Field(default={5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10})

    def judge(self, signals: Signals) -> Reasons:
        """The reason to drop each document, or None."""
        chars, lines, paragraphs = signals.num_stripped_chars, signals.line_parts, signals.paragraph_parts
        top, again = self.max_top_ngram_chars, self.max_duplicate_ngram_chars
        return first_of(
            ("no text", chars == 0),
            ("too many repeated paragraphs", share(paragraphs.duplicates, paragraphs.count) > self.max_duplicate_paragraphs),
            ("too many characters in repeated paragraphs", share(paragraphs.duplicate_chars, chars) > self.max_duplicate_paragraph_chars),
            ("too many repeated lines", share(lines.duplicates, lines.count) > self.max_duplicate_lines),
            ("too many characters in repeated lines", share(lines.duplicate_chars, chars) > self.max_duplicate_line_chars),
            *((f"one {size}-gram too often", share(signals.top_ngram_chars(size), chars) > limit) for size, limit in top.items()),
            *(
                (f"too many repeated {size}-grams", share(signals.duplicate_ngram_chars(size), chars) > limit)
                for size, limit in again.items()
            ),
        )
