"""Reward rules: what an answer is worth, by a rule that can be read. One rule a file; each is its own configuration."""

from typing import Annotated

from pydantic import Field

from trivium.score.rewards.code import Code
from trivium.score.rewards.exact import Exact
from trivium.score.rewards.format import Format
from trivium.score.rewards.instructions import Instructions
from trivium.score.rewards.language import Language
from trivium.score.rewards.length import Length
from trivium.score.rewards.llm_judge import LLMJudge
from trivium.score.rewards.marked import Marked
from trivium.score.rewards.math_answer import MathAnswer
from trivium.score.rewards.model_judge import ModelJudge
from trivium.score.rewards.numeric import Numeric
from trivium.score.rewards.plugin import Plugin
from trivium.score.rewards.repetition import Repetition
from trivium.score.rewards.reward import RewardRule, checked
from trivium.score.rewards.unwanted import Unwanted
from trivium.score.said import Said

AnyReward = Annotated[
    Code
    | Exact
    | Format
    | Instructions
    | Language
    | Length
    | LLMJudge
    | Marked
    | MathAnswer
    | ModelJudge
    | Numeric
    | Plugin
    | Repetition
    | Unwanted,
    Field(discriminator="kind"),
]

__all__ = [
    "AnyReward", "Code", "Exact", "Format", "Instructions", "Language", "Length", "LLMJudge", "Marked", "MathAnswer", "ModelJudge",
    "Numeric", "Plugin", "Repetition", "RewardRule", "Said", "Unwanted", "checked",
]  # fmt: skip
