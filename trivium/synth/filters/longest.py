"""Longest: keeps so many conversations with the longest last answers."""

from typing import Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.synth.filters.rule import Measured
from trivium.text.signals import Reasons, first_of


@component
class Longest:
    """The `count` conversations whose last answers have the most words, the last step of Magpie's released sets (300,000 there).

    Of equal ones the earlier. Put it last: it keeps of what the filters before it keep.
    """

    kind: Literal["longest"] = "longest"
    count: int = Field(gt=0)

    def why_not(self, found: Measured) -> Reasons:
        """The reason to drop each conversation, or None. found: words, of the last answer."""
        words_N = found["words"]
        is_out_N = np.ones(len(words_N), bool)
        is_out_N[np.argsort(-words_N, kind="stable")[: self.count]] = False
        return first_of(("answer is not among the longest", is_out_N))
