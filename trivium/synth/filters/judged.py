"""Judged: drops conversations that a model, asked by criteria in words, gives a low grade."""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component, read_toml
from trivium.core.errors import ConfigError
from trivium.score.rewards import LLMJudge
from trivium.synth.filters.rule import Measured
from trivium.text.signals import Reasons, first_of

NO_VERDICT = "the judge gives no verdict"


@component
class Judged:
    """The grade of the last answer, 1 to 10 as 0 to 1, must be at least `at_least`.

    criteria: `quality` or `difficulty` (judged.toml), two of the tags of Xu et al. 2024, arXiv:2406.08464, section 3, or one's own words.
    model: a model directory, which is asked here; or, with url, a model of an OpenAI-compatible endpoint, to which every conversation is
    sent (see `llm_judge`). A reply without a verdict of the form that was asked for is no grade: it is counted, and the conversation goes.
    """

    kind: Literal["judged"] = "judged"
    model: str
    url: str = ""
    key_variable: str = ""
    criteria: str = "quality"
    at_least: float = Field(default=0.5, ge=0, le=1)

    def __post_init__(self) -> None:
        if self.key_variable and not self.url:
            raise ConfigError("the filter 'judged' needs no key for a model directory; give url too, or leave key_variable out")

    def judge(self) -> LLMJudge:
        """What is asked, and of whom; without url that is for its form alone."""
        words = read_toml(Path(__file__).with_suffix(".toml")).get(self.criteria, self.criteria)
        return LLMJudge(url=self.url or "http://localhost", model=self.model, key_variable=self.key_variable, criteria=words)

    def why_not(self, found: Measured) -> Reasons:
        """The reason to drop each conversation, or None. found: grade, nan without a verdict."""
        grade_N = found["grade"]
        return first_of((NO_VERDICT, np.isnan(grade_N)), (f"{_name(self.criteria)} is low", grade_N < self.at_least))


def _name(criteria: str) -> str:
    return criteria if len(criteria) <= 24 else "grade"
