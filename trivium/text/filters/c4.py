"""C4: drops filler text, code and pages of a few sentences."""

import re
from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Document

_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*(?=\s|$)")


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
    drop_lorem_ipsum: bool = True

    def __call__(self, document: Document) -> str | None:
        """The reason to drop the document, or None."""
        if self.drop_lorem_ipsum and "lorem ipsum" in document.text.lower():
            return "lorem ipsum"
        if self.drop_curly_brackets and "{" in document.text:
            return "curly bracket"
        return "too few sentences" if len(_SENTENCE_END.findall(document.text)) < self.min_sentences else None
