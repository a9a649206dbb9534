"""How fast training is, and how that compares with what the machine can do: honest figures, counted and not estimated.

Tokens are those of sequences, padding left out. FLOPs are the model's own (nn/flops.py), so work done twice or on padding does not
raise a share. A beginning that sequences share counts for each of them though our kernels compute it once (nn/native/compact.py): a share
of reinforcement learning or of preferences may be above what was computed. Of a step of several trainers it counts one: shares are
given only where there is one.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from trivium.core.run import Run
from trivium.core.types import Group


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What speed is measured against; 0 is not known. flops_per_token: the model's. FLOP/s: ceiling was measured here, peak is printed."""

    flops_per_token: float = 0.0
    ceiling: float = 0.0
    peak: float = 0.0

    def figures(self, tokens: int, seconds: float) -> dict[str, float]:
        """Speed as a row of speed.jsonl: what is not known is left out."""
        speed = {"seconds": seconds, "tokens": tokens, "tokens_per_s": tokens / seconds}
        if self.flops_per_token:
            speed["flops_per_s"] = self.flops_per_token * tokens / seconds
            limits = {"ceiling_share": self.ceiling, "peak_share": self.peak}
            speed |= {name: speed["flops_per_s"] / limit for name, limit in limits.items() if limit}
        return speed


class Meter:
    """Measures a run step by step."""

    def __init__(self, run: Run, yardstick: Yardstick) -> None:
        self.run, self.yardstick, self.before = run, yardstick, time.perf_counter()

    def update(self, done: int, groups: Sequence[Group]) -> str:
        """Record the step that ended now, on these groups of all ranks; a few words for the progress line."""
        now = time.perf_counter()
        seconds, self.before = max(now - self.before, 1e-9), now
        tokens = sum(len(item.tokens) for group in groups for item in group)
        speed = self.yardstick.figures(tokens, seconds)
        self.run.record_speed(done, speed)
        return describe_speed(speed)


def describe_speed(speed: dict[str, float]) -> str:
    """`5,013 tokens/s, 152 GFLOP/s: 49% of the ceiling here, 2% of the data sheet`."""
    said = f"{speed['tokens_per_s']:,.0f} tokens/s"
    if "flops_per_s" in speed:
        said += f", {speed['flops_per_s'] / 1e9:,.0f} GFLOP/s"
    limits = {"ceiling_share": "of the ceiling here", "peak_share": "of the data sheet"}
    shares = [f"{speed[name]:.0%} {words}" for name, words in limits.items() if name in speed]
    return f"{said}: {', '.join(shares)}" if shares else said
