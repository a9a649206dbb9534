"""Threshold: every answer that is good enough becomes a demonstration (expert iteration, STaR, ReST)."""

from typing import ClassVar, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.score.keep.rule import Choose, Kept, Makes, Pool, Scored, demonstrations


@component
class Threshold:
    """All different answers with a score of at_least, which for rules that say right or wrong is 1; the best per_prompt of them (0: all).

    The improve step of ReST (Gulcehre et al. 2023, arXiv:2308.08998, section 3), whose threshold rises from step to step; with right or
    wrong expert iteration and STaR (Zelikman et al. 2022, arXiv:2203.14465, without hints), ReST-EM (Singh et al. 2023,
    arXiv:2312.06585; it keeps 10 a prompt, so that easy prompts do not outweigh hard ones), and the distinct right answers of RFT
    (Yuan et al. 2023, arXiv:2308.01825).
    """

    makes: ClassVar[Makes] = "conversations"
    kind: Literal["threshold"] = "threshold"
    at_least: float = 1.0
    per_prompt: int = Field(default=0, ge=0)

    def __call__(self, pool: Pool) -> Choose:
        """The same for each prompt, whatever the others got."""

        def choose(asked: Scored) -> Kept:
            places = [place for place in asked.best_first if asked.scores[place] >= self.at_least]
            return demonstrations(asked, places[: self.per_prompt or None], f"no answer scores {self.at_least:g} and ended by itself")

        return choose
