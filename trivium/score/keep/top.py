"""Top: the best share of all answers to all prompts become demonstrations (RAFT's global ranking)."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.score.keep.rule import Choose, Kept, Makes, Pool, Scored, demonstrations


@component
class Top:
    """The answers with the highest scores, whichever prompts they belong to: this share of those that can be used, at least one.

    RAFT with global ranking (Dong et al. 2023, arXiv:2304.06767, section 3), where the share is 1 / answers. Prompts to which all answers
    are good give many records, hard ones none.
    """

    makes: ClassVar[Makes] = "conversations"
    kind: Literal["top"] = "top"
    share: float = Field(default=0.125, gt=0, le=1)

    def __call__(self, pool: Pool) -> Choose:
        """What keeps the answers above the cut that all of them together set."""
        scores, lots = pool.scores[pool.is_usable], pool.lots[pool.is_usable]
        if not len(scores):
            raise DataError("no answer ended by itself, so there is none to keep; raise sampling.max_new_tokens")
        last = np.lexsort((-lots, -scores))[max(1, round(self.share * len(scores))) - 1]
        cut = (scores[last], lots[last])

        def choose(asked: Scored) -> Kept:
            places = [place for place in asked.best_first if (asked.scores[place], asked.lots[place]) >= cut]
            return demonstrations(asked, places, f"no answer is in the best {100 * self.share:g} % of all")

        return choose
