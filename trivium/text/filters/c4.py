"""C4: drops filler text, code and pages of a few sentences."""

from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.text.signals import Reasons, Signals, first_of


@component
class C4:
    """The rules of C4 that look at a whole document.

    Raffel et al. 2020, arXiv:1910.10683, section 2.2: drop a page with "lorem ipsum", with a curly bracket, or with fewer
    than 5 sentences. Differences: its rules that delete single lines are left out, because a filter never changes text;
    a sentence ends at . ! or ? before white space, where C4 uses nltk's splitter.
    """

    kind: Literal["c4"] = "c4"
    min_sentences: int = Field(default=5, ge=0)
    drop_curly_brackets: bool = True  # switch off where code is wanted

    def judge(self, signals: Signals) -> Reasons:
        """The reason to drop each document, or None."""
        return first_of(
            ("lorem ipsum", signals.has_lorem_ipsum),
            ("curly bracket", (signals.num_curly > 0) & self.drop_curly_brackets),
            ("too few sentences", signals.num_sentences < self.min_sentences),
        )
