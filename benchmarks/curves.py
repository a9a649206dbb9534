"""Curves of bits per byte over training time: how they are recorded, and when one reaches what another ends with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Any

from benchmarks.contest import Contestant, Failed, Talk
from benchmarks.table import Line, Work

COMPILING = 2  # updates that may compile: they count as long as the usual one


@dataclass(slots=True)
class Curve:
    """One training run of `steps` updates: the seconds of each, and after how many of them which bits per byte were measured."""

    contestant: Contestant
    minutes: float
    seed: int
    steps: int
    seconds: list[float] = field(default_factory=list)
    measured: list[tuple[int, float]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    failed: str = ""

    @property
    def name(self) -> str:
        """That of the contestant."""
        return self.contestant.name

    @property
    def final(self) -> float:
        """Bits per byte at the end; nan if it failed."""
        return self.measured[-1][1] if self.measured and not self.failed else math.nan

    def points(self) -> list[tuple[int, float, float]]:
        """(updates, seconds of training, bits per byte) of every measurement."""
        usual = median(self.seconds[COMPILING:]) if len(self.seconds) > COMPILING else 0.0
        times = [min(second, usual) if number < COMPILING else second for number, second in enumerate(self.seconds)]
        return [(steps, sum(times[:steps]), bits) for steps, bits in self.measured]

    def seconds_to(self, bits_per_byte: float) -> float | None:
        """When it first was as good as that, between two measurements on the straight line; None if it never was."""
        before: tuple[float, float] | None = None
        for _, seconds, bits in self.points():
            if bits <= bits_per_byte:
                if before is None or before[1] == bits:
                    return seconds
                return before[0] + (seconds - before[0]) * (before[1] - bits_per_byte) / (before[1] - bits)
            before = (seconds, bits)
        return None


def record(curves: Sequence[Curve], bytes_per_token: float, *, checks: int) -> list[Curve]:
    """Train all of them in turns, `checks` times a part of each one's updates and then a measurement. Failures are told and kept."""
    talks: dict[int, Talk] = {}
    try:
        for check in range(1, checks + 1):
            for number, curve in enumerate(curves):
                if curve.failed:
                    continue
                try:
                    if number not in talks:
                        talks[number] = Talk(curve.contestant)
                        curve.versions = talks[number].ready.get("versions", {})
                    _advance(curve, talks[number], curve.steps * check // checks, bytes_per_token)
                except Failed as error:
                    curve.failed = str(error)
                    print(f"{curve.name} failed: {error}")
    finally:
        for talk in talks.values():
            talk.close()
    return list(curves)


def _advance(curve: Curve, talk: Talk, steps: int, bytes_per_token: float) -> None:
    curve.seconds += talk.ask(steps=steps - len(curve.seconds))["seconds"]
    loss = talk.ask(evaluate=True)["loss"]
    curve.measured.append((steps, loss / math.log(2) / bytes_per_token))
    print(f"seed {curve.seed}, {curve.name}: {steps} of {curve.steps} updates, {curve.measured[-1][1]:.4f} bits/byte", flush=True)


def work(curves: Sequence[Curve], minutes: float, peer: str | None, common: dict[str, Any]) -> Work:
    """When each was as good as the peer is at the end (of the same seed): the median over seeds, in seconds of training.

    Without a peer in the race there is only what each ends with.
    """
    raced = [curve for curve in curves if curve.minutes == minutes]
    targets = {curve.seed: curve.final for curve in raced if curve.name == peer}
    lines = []
    for name in dict.fromkeys(curve.name for curve in raced):
        mine = [curve for curve in raced if curve.name == name]
        lines.append(_line(name, mine, targets, common["seq_len"]))
    shape = "L{depth} d{width} V{vocab_size}".format(**common)
    return Work(f"{shape}: as good as the peer after {minutes:g} minutes", "seconds", lines, is_cost=True)


def _line(name: str, curves: Sequence[Curve], targets: dict[int, float], seq_len: int) -> Line:
    is_ours, broken = curves[0].contestant.is_ours, [curve.failed for curve in curves if curve.failed]
    if broken:
        return Line(name, is_ours, failed=broken[0])
    finals, usual = [curve.final for curve in curves], [median(curve.seconds) for curve in curves]
    notes = {
        "bits/byte at the end": f"{mean(finals):.4f} ({min(finals):.4f} to {max(finals):.4f})",
        "updates": str(curves[0].steps),
        "tokens/s": f"{curves[0].contestant.options['rows'] * seq_len / median(usual):,.0f}",
        "compiling": f"{median(sum(curve.seconds[:COMPILING]) for curve in curves) - COMPILING * median(usual):.0f} s",
    }
    if not targets:
        return Line(name, is_ours, failed="no peer in the race", notes=notes)
    reached = [curve.seconds_to(targets[curve.seed]) for curve in curves]
    times = [seconds for seconds in reached if seconds is not None]
    if len(times) < len(reached):
        return Line(name, is_ours, failed=f"{len(times)} of {len(reached)} seeds got there", notes=notes)
    return Line(name, is_ours, median(times), min(times), max(times), notes=notes)
