"""Pairs: the best and the worst answer to each prompt become a preference."""

from typing import ClassVar, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.score.keep.rule import Choose, Kept, Makes, Pool, Scored


@component
class Pairs:
    """The best answer that ended by itself over the worst one, with the difference of their scores as `margin`.

    Prompts whose answers all score the same are left out and counted, and so are those whose best and worst differ by less than
    min_margin. Iterative DPO: Xu et al. 2023, arXiv:2312.16682; Yuan et al. 2024, arXiv:2401.10020.
    """

    makes: ClassVar[Makes] = "preferences"
    kind: Literal["pairs"] = "pairs"
    min_margin: float = Field(default=0.0, ge=0)

    def __call__(self, pool: Pool) -> Choose:
        """The same for each prompt, whatever the others got."""
        return self._pair

    def _pair(self, asked: Scored) -> Kept:
        if not asked.best_first:
            return Kept(why_none="no answer ended by itself")
        better, worse = asked.best_first[0], asked.order[-1]
        margin = float(asked.scores[better] - asked.scores[worse])
        if asked.scores.min() == asked.scores.max():
            return Kept(why_none="all answers score the same")
        if margin <= 0:
            return Kept(why_none="no answer that ended by itself is better than another")
        if margin < self.min_margin:
            return Kept(why_none=f"the best and the worst answer differ by less than {self.min_margin:g}")
        if asked.responses[better] == asked.responses[worse]:
            return Kept(why_none="the best and the worst answer are the same text")
        record = {
            "prompt": asked.turns,
            "chosen": asked.responses[better],
            "rejected": asked.responses[worse],
            "scores": [float(asked.scores[better]), float(asked.scores[worse])],
            "margin": margin,
            "stopped": [True, bool(asked.is_stopped[worse])],
        }
        return Kept([record], [better, worse])
