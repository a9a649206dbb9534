"""Steps: every answer becomes a solution whose steps are labelled by how often the model that goes on from them arrives."""

from typing import ClassVar, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.score.keep.rule import Choose, Kept, Makes, Pool, Scored


@component
class Steps:
    """The different answers that ended by themselves, right and wrong ones, cut into steps at the separator and labelled.

    They are what `reward objective=process` learns from. Math-Shepherd (Wang et al. 2024, arXiv:2312.08935, section 3.3): the model goes on
    `rollouts` times from the end of each step, and an answer arrives if it ended by itself with a score of at_least, which for rules that
    say right or wrong is 1. estimate: the label of a step is the share of those that arrive (soft, eq. 4), or whether any does (hard,
    eq. 3); that of the last step is its own result. Difference: the model that answered is the one that goes on.
    """

    makes: ClassVar[Makes] = "solutions"
    kind: Literal["steps"] = "steps"
    rollouts: int = Field(default=8, gt=0, le=1024)
    at_least: float = 1.0
    estimate: Literal["soft", "hard"] = "soft"
    separator: str = Field(default="\n", min_length=1)

    def __call__(self, pool: Pool) -> Choose:
        """The same for each prompt, whatever the others got."""
        return self._labelled

    def cut(self, text: str) -> list[str]:
        """The steps of an answer; blank ones are none."""
        return [step for step in text.split(self.separator) if step.strip()]

    def _labelled(self, asked: Scored) -> Kept:
        places = [place for place, steps in enumerate(asked.steps) if steps]
        records = [
            {
                "prompt": asked.turns,
                "steps": list(asked.steps[place]),
                "labels": [float(share > 0) if self.estimate == "hard" else share for share in asked.step_shares[place]],
                "score": float(asked.scores[place]),
            }
            for place in places
        ]
        return Kept(records, places, "" if records else "no answer that ended by itself has steps with shares of rollouts that arrive")
