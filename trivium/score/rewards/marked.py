"""Marked: right answers gain a point, wrong ones lose some, and saying that one does not know costs nothing."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.score.rewards.exact import plain_text
from trivium.score.said import Said


@component
class Marked:
    """1 for an answer that is the text in `field` (of a list, one of its texts), 0 for `abstain`, -wrong for everything else.

    Without outer white space and capitals. With negative marks it pays to answer only where one is right with a probability above
    wrong / (1 + wrong), so a policy that learns from them learns what it does not know (Goldberg 2023, "Reinforcement learning for
    language models"; Schulman 2023).
    """

    kind: Literal["marked"] = "marked"
    field: str = "answer"
    abstain: str = "I do not know."
    wrong: float = Field(default=1.0, ge=0)
    weight: float = Field(default=1.0)

    def __call__(self, answers: Sequence[Said]) -> list[float]:
        """The mark of each answer."""
        return [self._mark(said) for said in answers]

    def _mark(self, said: Said) -> float:
        answer = plain_text(said.response)
        if answer == plain_text(self.abstain):
            return 0.0
        return 1.0 if answer in map(plain_text, said.texts(self.field)) else -self.wrong


def pays_from(wrong: float) -> float:
    """The probability of being right from which an answer pays: wrong / (1 + wrong)."""
    return wrong / (1 + wrong)
