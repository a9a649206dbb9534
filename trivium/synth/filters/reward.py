"""Reward: drops conversations whose last answer a reward model does not like, or no better than that of a base model."""

from typing import Annotated, Literal

import numpy as np

from trivium.core.config import KEEPS_REST, component
from trivium.core.errors import ConfigError
from trivium.generate.sampling import Sampling
from trivium.synth.filters.rule import Measured
from trivium.text.signals import Reasons, first_of

ANSWERS = Sampling(temperature=0, max_new_tokens=256)


@component
class Reward:
    """The score that a reward model gives the last answer must be at least `at_least`; Magpie's released filters use -10 of their model.

    reference: a model (the base) that answers the same by `sampling`; the score must be higher than that of its answer by at least
    min_difference (reward difference: Xu et al. 2024, arXiv:2406.08464, section 3). What is too long to be read is dropped.
    """

    kind: Literal["reward"] = "reward"
    reward_model: str
    at_least: float | None = None
    reference: str = ""
    min_difference: float = 0.0
    sampling: Annotated[Sampling, KEEPS_REST] = ANSWERS

    def __post_init__(self) -> None:
        if self.at_least is None and not self.reference:
            raise ConfigError("the filter 'reward' needs at_least, a score, or reference, a model whose answers are compared with")
        if not self.reference and (self.min_difference or self.sampling != ANSWERS):
            raise ConfigError(
                "the filter 'reward': min_difference and sampling are about a reference; give reference too, or leave them out"
            )

    def why_not(self, found: Measured) -> Reasons:
        """The reason to drop each conversation, or None. found: score, and difference where there is a reference."""
        score_N = found["score"]
        is_low_N = score_N < (-np.inf if self.at_least is None else self.at_least)
        difference_N = found["difference"] if self.reference else np.full(len(score_N), np.inf)
        return first_of(
            ("too long for the reward model", np.isnan(score_N)),
            ("reward is low", is_low_N),
            ("the reference's answer cannot be scored", np.isnan(difference_N)),
            ("no better than the reference", difference_N < self.min_difference),
        )
