"""Results: a table for people, and as the last line one JSON object for programs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from trivium.core.world import machine


@dataclass(frozen=True, slots=True)
class Line:
    """One contestant at one work: a value and the lowest and highest of its rounds, or why there is none."""

    name: str
    is_ours: bool
    value: float = 0.0
    low: float = 0.0
    high: float = 0.0
    failed: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)  # further columns


@dataclass(frozen=True, slots=True)
class Work:
    """All contestants at the same work. ceiling: the value that the machine's limits allow, None where no limit is known.

    is_cost: less is better, as with seconds. decimals: of the values; None: three digits.
    """

    name: str
    unit: str
    lines: Sequence[Line]
    ceiling: float | None = None
    is_cost: bool = False
    decimals: int | None = None

    def best(self, *, is_ours: bool) -> Line | None:
        """The best of ours or of the peers."""
        going = [line for line in self.lines if line.is_ours == is_ours and not line.failed]
        return (min if self.is_cost else max)(going, key=lambda line: line.value, default=None)

    @property
    def ratio(self) -> float | None:
        """How many times better our best is than the best peer; None if one of them is missing."""
        ours, peer = self.best(is_ours=True), self.best(is_ours=False)
        return self._times(ours, peer) if ours and peer else None

    def text(self) -> str:
        """The table: value, its range over the rounds, and how our best compares with each peer."""
        ours, columns = self.best(is_ours=True), list(dict.fromkeys(name for line in self.lines for name in line.notes))
        rows = [["", self.unit, "range", "ours is", *columns]]
        for line in self.lines:
            if line.failed:
                rows.append([line.name, "-", line.failed[:80], "", *(line.notes.get(name, "") for name in columns)])
                continue
            times = f"{self._times(ours, line):.2f} x" if ours and not line.is_ours else ""
            value, low, high = (self._shown(number) for number in (line.value, line.low, line.high))
            rows.append([line.name, value, f"{low} to {high}", times, *(line.notes.get(name, "") for name in columns)])
        return f"{self.name}\n{aligned(rows)}"

    def _shown(self, value: float) -> str:
        return _number(value) if self.decimals is None else f"{value:.{self.decimals}f}"

    def _times(self, ours: Line, peer: Line) -> float:
        return peer.value / ours.value if self.is_cost else ours.value / peer.value

    def fields(self) -> dict[str, Any]:
        """The part of the JSON object that depends on the work."""
        ours = self.best(is_ours=True)
        return {
            "work": self.name,
            "ours": ours and round(ours.value, 4),
            "peers": {line.name: round(line.value, 4) for line in self.lines if not line.is_ours and not line.failed},
            "ratio": self.ratio and round(self.ratio, 4),
            "ceiling_share": round(ours.value / self.ceiling, 4) if ours and self.ceiling else None,
        }


def report(benchmark: str, works: Sequence[Work], versions: Mapping[str, str], notes: Sequence[str] = ()) -> dict[str, Any]:
    """Print tables, notes, and the JSON object; returns the latter.

    A claim is as good as its weakest case, so the object is that of the work with the smallest ratio; `works` has all of them.
    """
    all_versions = {"trivium": _own_version(), "torch": metadata.version("torch")} | dict(versions)
    where = machine()
    for work in works:
        print("\n" + work.text())
    print("\n" + "\n".join([*notes, f"versions: {_listed(all_versions)}", f"machine: {_listed(where)}"]))
    weakest = min(works, key=lambda work: float("inf") if work.ratio is None else work.ratio)
    facts = {"benchmark": benchmark, **weakest.fields(), "versions": all_versions, "machine": where}
    if len(works) > 1:
        facts["works"] = [work.fields() for work in works]
    print(json.dumps(facts), flush=True)
    return facts


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell; the first is aligned left, the others right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))] for row in rows)
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _listed(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _own_version() -> str:
    found = list(metadata.distributions(name="trivium"))
    return found[0].version if found else "from a checkout"
