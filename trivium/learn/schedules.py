"""Learning-rate schedules: a factor of the peak rate as a function of the step."""

import math
from typing import Literal

from pydantic import Field

from trivium.core.config import component

STEEPNESS = 10.0


@component
class Schedule:
    """Linear warm-up, a constant part, then decay to `floor` of the peak.

    shape linear, cosine or exponential; `decay_share` is the part of the run that decays (1: all of it after warm-up; 0: constant).
    warmup_share: the part of the run that warms up, where that is longer than warmup_steps. starts_at_zero: the first update of the
    warm-up has the rate 0 and changes nothing, as in Megatron and GPT-NeoX; otherwise it has the rate of the second. cooldown_share: the
    part of the run that falls from the peak to `constant` of it, where it stays until the decay; 0: there is no peak above `constant`.
    Continual pre-training (Ibrahim et al. 2024, arXiv:2403.08763): re-warming and re-decay are warmup_share=0.01 shape=cosine floor=0.1.
    The infinite schedule (section 7) is cooldown_share=0.2 constant=0.5 decay_share=0 for as long as there is text, going on with
    constant=0.5 decay_share=0, and ending with constant=0.5 decay_share=0.1 shape=exponential floor=0.1. Difference: STEEPNESS, of the
    cool-down sqrt, is ours.
    """

    warmup_steps: int = Field(default=0, ge=0)
    warmup_share: float = Field(default=0.0, ge=0, lt=1)
    decay_share: float = Field(default=1.0, ge=0, le=1)
    shape: Literal["linear", "cosine", "exponential"] = "linear"
    floor: float = Field(default=0.0, ge=0, le=1)
    starts_at_zero: bool = False
    cooldown_share: float = Field(default=0.0, ge=0, le=1)
    cooldown: Literal["cosine", "sqrt"] = "cosine"
    constant: float = Field(default=1.0, gt=0, le=1)

    def __post_init__(self) -> None:
        if self.constant < self.floor:
            raise ValueError(f"constant is {self.constant:g}, below floor, {self.floor:g}, to which the rate falls from there")
        if self.shape == "exponential" and not self.floor:
            raise ValueError("shape exponential never reaches a floor of 0; give floor, for example 0.1")
        if self.cooldown_share and (total := self.warmup_share + self.cooldown_share + self.decay_share) > 1:
            raise ValueError(f"warmup_share, cooldown_share and decay_share are {total:g} of the run together; set decay_share lower")

    def __call__(self, step: int, steps: int) -> float:
        """Factor for the update number `step` (0-based) of `steps`."""
        warmup = max(self.warmup_steps, math.ceil(steps * self.warmup_share))
        peak = 1.0 if self.cooldown_share else self.constant
        if step < warmup:
            return peak * (step / warmup if self.starts_at_zero else (step + 1) / (warmup + 1))
        start = max(warmup, round(steps * (1 - self.decay_share)))
        if step < start or steps <= start:
            cool = min(round(steps * self.cooldown_share), start - warmup)
            return self.constant if step >= warmup + cool else peak - (peak - self.constant) * self._cooled((step - warmup) / cool)
        done = (step - start) / (steps - start)
        if self.shape == "exponential":
            return self.constant * (self.floor / self.constant) ** done
        return self.constant - (self.constant - self.floor) * (done if self.shape == "linear" else _half_wave(done))

    def _cooled(self, done: float) -> float:
        """How much of the way from the peak to `constant` is behind."""
        if self.cooldown == "cosine":
            return _half_wave(done)
        return (1 - 1 / math.sqrt(1 + STEEPNESS * done)) / (1 - 1 / math.sqrt(1 + STEEPNESS))


def _half_wave(done: float) -> float:
    return 0.5 * (1 - math.cos(math.pi * done))
