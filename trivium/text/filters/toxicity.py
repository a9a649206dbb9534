"""Toxicity: drops documents with many words of a list."""

from typing import Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.text.filters.listed import entries
from trivium.text.signals import Reasons, Signals, first_of, share
from trivium.text.words import hash_words, lay_out, split_at_punctuation


@component
class Toxicity:
    """The share of words that are on a list, in any case; a word is a run of letters, digits and underscores.

    words: a file with an entry a line; none is shipped. C4 (Raffel et al. 2020, arXiv:1910.10683, section 2.2) drops a page with a single
    such word, which is max_share=0, and loses much harmless text of and about minorities with it (Dodge et al. 2021,
    arXiv:2104.08758, section 5); hence a share. Raises ConfigError if there is no such file.
    """

    kind: Literal["toxicity"] = "toxicity"
    words: str
    max_share: float = Field(default=0.01, ge=0, le=1)

    def __post_init__(self) -> None:
        entries(self.words)

    def judge(self, signals: Signals) -> Reasons:
        """The reason to drop each document, or None."""
        listed = lay_out(entries(self.words))
        words, hash_W = signals.bare_words
        found = words.document_W[np.isin(hash_W, hash_words(listed, split_at_punctuation(listed)))]
        counts = np.bincount(found, minlength=len(signals))
        return first_of(("too many words of the list", share(counts, np.diff(words.first_D)) > self.max_share))
