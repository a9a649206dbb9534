"""Group mean: credit of an answer is how much better it is than the other answers to the same prompt (GRPO)."""

from typing import Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component


@component
class GroupMean:
    """Reward minus the group's mean, for every token of the answer.

    scale none is Dr. GRPO (Liu et al. 2025, arXiv:2503.20783); scale std divides by the group's standard deviation + 1e-4
    with std_ddof degrees of freedom taken off (Shao et al. 2024, arXiv:2402.03300, section 4.1.2: GRPO as published).
    """

    kind: Literal["group_mean"] = "group_mean"
    scale: Literal["none", "std"] = "none"
    std_ddof: int = Field(default=1, ge=0, le=1)

    def __call__(self, rewards_K: np.ndarray) -> np.ndarray:
        """Advantages (K,) of the answers to one prompt; all 0 when the rewards are equal."""
        centred = rewards_K - rewards_K.mean()
        if self.scale == "none" or len(rewards_K) < 2:
            return centred
        return centred / (rewards_K.std(ddof=self.std_ddof) + 1e-4)
