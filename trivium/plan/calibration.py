"""What was measured on a device, kept in the cache: a line through one and two layers of a model, and the stages of a small rehearsal."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trivium.core.commit import commit_file, fingerprint
from trivium.core.world import cache_folder
from trivium.plan.shape import Shape

FOLDER = "calibration"


@dataclass(frozen=True, slots=True)
class LayerFit:
    """A training step of `tokens` tokens with n layers takes seconds + n x layer_seconds, and so many bytes in the same way.

    share: of the data sheet's FLOP/s that is reached at the model's full depth, PaLM's count (0 where no sheet is known). margin: bytes
    that are no states, over those of the plan's terms.
    """

    tokens: int
    seconds: float
    layer_seconds: float
    bytes: float
    layer_bytes: float
    share: float = 0.0
    margin: float = 0.0

    def step_seconds(self, num_layers: int) -> float:
        """Of a model so deep."""
        return self.seconds + num_layers * self.layer_seconds

    def memory_bytes(self, num_layers: int) -> float:
        """Of a model so deep, on one device."""
        return self.bytes + num_layers * self.layer_bytes


@dataclass(frozen=True, slots=True)
class StageFit:
    """A stage takes fixed seconds, and each of its units (updates, phases, or what it works on) some more, at the recipe's full depth."""

    fixed: float
    per_unit: float

    def seconds(self, units: float) -> float:
        """For so many units."""
        return self.fixed + units * self.per_unit


def line(one: float, two: float) -> tuple[float, float]:
    """(at none, of each) from what one and two take; what is not positive is noise, and taken for nothing.

    >>> line(3.0, 5.0)
    (1.0, 2.0)
    """
    each = max(0.0, two - one)
    return max(0.0, one - each), each


def shape_class(shape: Shape) -> dict[str, int]:
    """What makes a layer as fast as another: all sizes but how many layers there are."""
    return {name: value for name, value in asdict(shape).items() if name not in ("num_layers", "parameters")}


def store(machine: Mapping[str, Any], work: Mapping[str, Any], found: Mapping[str, Any], folder: Path | None = None) -> Path:
    """Keep what was found for this work on this machine; an earlier finding goes."""
    path = _place(machine, work, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    commit_file(path, json.dumps({"machine": dict(machine), "work": dict(work), "found": dict(found)}, indent=1))
    return path


def load(machine: Mapping[str, Any], work: Mapping[str, Any], folder: Path | None = None) -> Mapping[str, Any] | None:
    """What was kept; None if nothing was, or if it cannot be read."""
    try:
        return json.loads(_place(machine, work, folder).read_text(encoding="utf-8"))["found"]
    except (FileNotFoundError, ValueError, KeyError):
        return None


def _place(machine: Mapping[str, Any], work: Mapping[str, Any], folder: Path | None) -> Path:
    return (folder or cache_folder() / FOLDER) / f"{fingerprint({'machine': dict(machine), 'work': dict(work)})[:24]}.json"
