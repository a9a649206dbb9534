"""Who compares answers by a constitution: a model of ours, a simulated reader, or a model behind an endpoint."""

from typing import Annotated, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import ConfigError
from trivium.score.rewards import LLMJudge
from trivium.synth.feedback import CLAMPED
from trivium.synth.simulated import Simulated


@component
class ByModel:
    """A chat model of ours, read from its log-probs of "(A)" and "(B)", in both orders.

    think_tokens: it reasons in at most so many tokens first; 0: it does not. Where the two options have less than min_mass together in one
    of the orders, the model has not chosen, and there is no label.
    """

    kind: Literal["model"] = "model"
    model: str
    think_tokens: int = Field(default=0, ge=0)
    min_mass: float = Field(default=0.05, ge=0, lt=1)


AnyJudge = Annotated[ByModel | Simulated | LLMJudge, Field(discriminator="kind")]


def check_judge(judge: AnyJudge) -> None:
    """Raise ConfigError for a judge behind an endpoint that cannot be asked, or is told by what to judge, which the constitution says."""
    if isinstance(judge, LLMJudge):
        judge.endpoint()
        plain = LLMJudge(url=judge.url, model=judge.model)
        if (judge.criteria, judge.choices, judge.weight) != (plain.criteria, plain.choices, plain.weight):
            raise ConfigError("judge: the constitution's comparisons are what it judges by; leave criteria, choices and weight out")


def usual_lowest(judge: AnyJudge) -> float:
    """The clamp of a judge's labels: as published for one that reasons, and the same for one that only says which; 0 for others."""
    says_which = isinstance(judge, LLMJudge) or (isinstance(judge, ByModel) and judge.think_tokens > 0)
    return CLAMPED if says_which else 0.0
