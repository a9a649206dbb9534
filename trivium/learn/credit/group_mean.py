"""Group mean: credit of an answer is how much better it is than the other answers to the same prompt (GRPO)."""

import math
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component, is_set
from trivium.core.errors import ConfigError
from trivium.learn.credit.answers import Answers, Credit


@component
class GroupMean:
    """Reward minus the group's mean, for every token of the answer.

    scale none is Dr. GRPO (Liu et al. 2025, arXiv:2503.20783); scale std divides by the group's standard deviation + 1e-4
    with std_ddof degrees of freedom taken off (Shao et al. 2024, arXiv:2402.03300, section 4.1.2: GRPO as published); scale batch divides
    by that of all rewards of the phase. scale beta is for rewards from 0 to 1 (BNPO: Xiao et al. 2025, arXiv:2506.02864): it divides by
    the density, at the group's mean, of the Beta distribution under which the variance of the slope is least.
    """

    kind: Literal["group_mean"] = "group_mean"
    min_answers: ClassVar[int] = 2
    needs_critic: ClassVar[bool] = False
    needs_greedy: ClassVar[bool] = False
    scale: Literal["none", "std", "batch", "beta"] = "none"
    std_ddof: int = Field(default=1, ge=0, le=1)

    def __post_init__(self) -> None:
        if self.scale in ("none", "beta") and is_set(self, "std_ddof"):
            raise ValueError(f"std_ddof is {self.std_ddof}, but scale={self.scale} has no standard deviation to read it; leave it out")

    def __call__(self, answers: Answers) -> Credit:
        """Advantages of the answers; all 0 for a prompt whose rewards are equal."""
        rewards = answers.groups(answers.rewards())
        centred = rewards - rewards.mean(1, keepdims=True)
        if self.scale == "batch":
            centred = centred / (rewards.std(ddof=self.std_ddof) + 1e-4)
        elif self.scale == "std" and answers.per_prompt > 1:
            centred = centred / (rewards.std(1, ddof=self.std_ddof, keepdims=True) + 1e-4)
        elif self.scale == "beta":
            centred = centred / beta_density(rewards)[:, None]
        return Credit(answers.spread(centred.ravel()))


def beta_density(rewards_GK: np.ndarray) -> np.ndarray:
    """What BNPO divides the advantages of each group by, (G,).

    The means of the groups are taken for draws from Beta(a, b), with a and b from their mean and variance; the density is that of
    Beta(1 + a / 3, 1 + b / 3). It is 1 where the means do not differ, or differ more than those of any Beta distribution do.
    Raises ConfigError for a reward outside of 0 to 1.
    """
    if rewards_GK.min() < 0 or rewards_GK.max() > 1:
        raise ConfigError(
            f"credit group_mean: scale=beta takes rewards from 0 to 1, one is {rewards_GK.min():g} and one {rewards_GK.max():g};"
            " set missing_end_penalty=0, kl_coef=0 and overlong_margin=0, and take a rule that says 0 or 1"
        )
    mean_G = rewards_GK.mean(1)
    mean, variance = mean_G.mean(), mean_G.var()
    if not 0 < variance < mean * (1 - mean):
        return np.ones(len(mean_G))
    total = mean * (1 - mean) / variance - 1
    alpha, beta = 1 + mean * total / 3, 1 + (1 - mean) * total / 3
    log_scale = math.lgamma(alpha + beta) - math.lgamma(alpha) - math.lgamma(beta)
    inner_G = mean_G.clip(1e-6, 1 - 1e-6)  # at 0 and 1 all advantages of the group are 0
    return np.exp(log_scale + (alpha - 1) * np.log(inner_G) + (beta - 1) * np.log1p(-inner_G))
