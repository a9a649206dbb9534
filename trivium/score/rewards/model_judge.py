"""Model judge: a model of ours grades the answer, read from how likely it finds each grade (direct RLAIF)."""

from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Message
from trivium.score.choice import GRADES, Choose, Question, among, expected_grade
from trivium.score.said import Said

_TEMPLATE = """Grade the last answer of a conversation by these criteria: {criteria}

Conversation:
{conversation}

Answer:
{answer}

How good is the answer, from 1 (worst) to 10 (best)? Say only the grade."""


@component
class ModelJudge:
    """The mean of the grades from 1 to 10 by their probabilities under a chat model, from -1 (surely 1) to 1 (surely 10).

    Direct RLAIF: Lee et al. 2023, arXiv:2309.00267, section 3.2.2. Difference: the text of the question is ours. The probabilities are
    those among the ten grades; where these have less than min_mass together, the model has not graded, and the answer gets 0, the middle.
    """

    kind: Literal["model_judge"] = "model_judge"
    model: str
    criteria: str = "Is the answer correct, helpful, honest, harmless and as long as it needs to be?"
    min_mass: float = Field(default=0.05, ge=0, lt=1)
    weight: float = Field(default=1.0)

    def open(self, choose: Choose, say: Callable[[str], None]) -> "OpenModelJudge":
        """The judge of a run. say: is told if answers were not graded."""
        return OpenModelJudge(self, choose, say)


class OpenModelJudge:
    """A judge that can be asked."""

    def __init__(self, options: ModelJudge, choose: Choose, say: Callable[[str], None]) -> None:
        self.options, self.kind, self.weight, self.choose, self.say = options, options.kind, options.weight, choose, say

    def __call__(self, answers: Sequence[Said]) -> list[float]:
        """A number from -1 to 1 for each answer."""
        if not answers:
            return []
        probs_NK, mass_N = among(self.choose([self._question(said) for said in answers], GRADES))
        is_graded_N = mass_N >= self.options.min_mass
        if not is_graded_N.all():
            self.say(
                f"the judge {self.options.model} gives the ten grades less than min_mass ({self.options.min_mass:g}) of its probability for"
                " some answers, which then get the middle grade"
            )
        return (expected_grade(probs_NK) * is_graded_N).tolist()

    def _question(self, said: Said) -> Question:
        conversation = "\n\n".join(f"{message.role}: {message.content}" for message in said.prompt)
        text = _TEMPLATE.format(criteria=self.options.criteria, conversation=conversation, answer=said.response)
        return Question((Message("user", text),), "Grade:")
