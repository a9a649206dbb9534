"""Steps: every answer becomes a solution whose steps are labelled by how often the model that goes on from them arrives."""

from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.score.keep.rule import Choose, Kept, Makes, Pool, Scored


@component
class Steps:
    """The different answers that ended by themselves, right and wrong ones, cut into steps at the separator and labelled.

    They are what `reward objective=process` learns from. Math-Shepherd (Wang et al. 2024, arXiv:2312.08935, section 3.3): the model goes on
    `rollouts` times from the end of each step, and an answer arrives if it ended by itself with a score of at_least, which for rules that
    say right or wrong is 1. estimate: the label of a step is the share of those that arrive (soft, eq. 4), or whether any does (hard,
    eq. 3); that of the last step is its own result. shuffled: each step has the result of an answer drawn by lot instead, to any prompt,
    which says nothing of it: what learns from these is a control. Difference: the model that answered is the one that goes on.
    """

    makes: ClassVar[Makes] = "solutions"
    kind: Literal["steps"] = "steps"
    rollouts: int = Field(default=8, gt=0, le=1024)
    at_least: float = 1.0
    estimate: Literal["soft", "hard", "shuffled"] = "soft"
    separator: str = Field(default="\n", min_length=1)

    def __call__(self, pool: Pool) -> Choose:
        """The same for each prompt, whatever the others got, unless labels are shuffled among all."""
        order = np.argsort(pool.lots[pool.is_usable])
        lots, results = pool.lots[pool.is_usable][order], (pool.scores[pool.is_usable] >= self.at_least)[order]

        def label(place: int, asked: Scored, step: int) -> float:
            """Of a step; shuffled, that of the answer so many places behind its own in an order by lot."""
            share = asked.step_shares[place][step]
            if self.estimate == "shuffled":
                return float(results[(np.searchsorted(lots, asked.lots[place]) + 1 + step) % len(results)])
            return float(share > 0) if self.estimate == "hard" else share

        return lambda asked: self._labelled(asked, label)

    def cut(self, text: str) -> list[str]:
        """The steps of an answer; blank ones are none."""
        return [step for step in text.split(self.separator) if step.strip()]

    def _labelled(self, asked: Scored, label: Callable[[int, Scored, int], float]) -> Kept:
        places = [place for place, steps in enumerate(asked.steps) if steps]
        records = [
            {
                "prompt": asked.turns,
                "steps": list(asked.steps[place]),
                "labels": [label(place, asked, step) for step in range(len(asked.steps[place]))],
                "score": float(asked.scores[place]),
            }
            for place in places
        ]
        return Kept(records, places, "" if records else "no answer that ended by itself has steps with shares of rollouts that arrive")
