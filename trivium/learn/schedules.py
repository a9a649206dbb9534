"""Learning-rate schedules: a factor of the peak rate as a function of the step."""

import math
from typing import Literal

from pydantic import Field

from trivium.core.config import component


@component
class Schedule:
    """Linear warm-up, a constant part, then decay to `floor` of the peak.

    shape linear or cosine; `decay_share` is the part of the run that decays (1: all of it after warm-up; 0: constant). warmup_share:
    the part of the run that warms up, where that is longer than warmup_steps. starts_at_zero: the first update of the warm-up has the
    rate 0 and changes nothing, as in Megatron and GPT-NeoX; otherwise it has the rate of the second.
    """

    warmup_steps: int = Field(default=0, ge=0)
    warmup_share: float = Field(default=0.0, ge=0, lt=1)
    decay_share: float = Field(default=1.0, ge=0, le=1)
    shape: Literal["linear", "cosine"] = "linear"
    floor: float = Field(default=0.0, ge=0, le=1)
    starts_at_zero: bool = False

    def __call__(self, step: int, steps: int) -> float:
        """Factor for the update number `step` (0-based) of `steps`."""
        warmup = max(self.warmup_steps, math.ceil(steps * self.warmup_share))
        if step < warmup:
            return step / warmup if self.starts_at_zero else (step + 1) / (warmup + 1)
        start = max(warmup, round(steps * (1 - self.decay_share)))
        if step < start or steps <= start:
            return 1.0
        done = (step - start) / (steps - start)
        fall = done if self.shape == "linear" else 0.5 * (1 - math.cos(math.pi * done))
        return 1.0 - (1.0 - self.floor) * fall
