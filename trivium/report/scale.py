"""Axes: where the ticks stand and how they are written. Linear only: a logarithm hides how much of a curve is already flat."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeGuard

from trivium.report import units

_LARGEST = 1e300  # beyond it a span overflows; such a value is a diverged number, not a measurement
_SMALLEST = 1e-250


@dataclass(frozen=True, slots=True)
class Scale:
    """A map of [low, high] to [0, 1] with ticks inside."""

    low: float
    high: float
    ticks: tuple[float, ...]
    step: float

    def __call__(self, value: float) -> float:
        """Where a value is between the ends: 0 is low, 1 is high."""
        return (value - self.low) / (self.high - self.low)

    def label(self, tick: float) -> str:
        """Write a tick with as many decimals as its neighbours need to differ."""
        if max(abs(self.low), abs(self.high)) >= 10_000 and self.step >= 100:
            return f"{tick / 1e6:g}M" if abs(tick) >= 1e6 else f"{tick / 1e3:g}K" if abs(tick) >= 1e3 else f"{tick:g}"
        if self.step < 1e-4:
            return "0" if abs(tick) < self.step / 2 else f"{tick:.1e}".replace(".0e", "e").replace("e-0", "e-")
        decimals = max(0, -math.floor(math.log10(self.step) + 1e-9))
        return f"{tick + 0.0:,.{decimals}f}" if abs(tick) < 1e7 else units.number(tick)


def is_drawable(value: float | None) -> TypeGuard[float]:
    """Whether a value has a place on an axis."""
    return value is not None and math.isfinite(value) and abs(value) < _LARGEST


def nice_scale(values: Iterable[float], *, num_ticks: int = 5, is_tight: bool = False) -> Scale:
    """Ticks at 1, 2 or 5 times a power of ten around the values; a tight scale ends at the data, a loose one at a tick.

    Heckbert 1990, "Nice numbers for graph labels", Graphics Gems I, p. 61. No values, or one, still give an axis.
    """
    drawable = [value for value in values if is_drawable(value)] or [0.0, 1.0]
    low, high = _spread(min(drawable), max(drawable))
    step = _nice((high - low) / max(1, num_ticks - 1))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(multiple * step for multiple in range(first, last + 1))
    if is_tight:
        slack = step * 1e-6
        return Scale(low, high, tuple(tick for tick in ticks if low - slack <= tick <= high + slack), step)
    return Scale(ticks[0], ticks[-1], ticks, step)


def _spread(low: float, high: float) -> tuple[float, float]:
    """Give room to values that are all the same."""
    largest = max(abs(low), abs(high))
    if high - low > max(largest * 1e-9, _SMALLEST):
        return low, high
    room = largest * 0.1 if largest > _SMALLEST else 1.0
    return low - room, high + room


def _nice(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * 0.999)
