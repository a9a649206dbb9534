"""Checkpoints: everything a run needs to go on with the same bits, committed as one verified folder.

Safetensors and JSON only. Order, sampling and noise are functions of (seed, step), so besides weights and optimizer state there is
one integer, the length of the metrics file, and the little that sources and hooks remember. Frozen weights are not in it, only
their fingerprint.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from safetensors.torch import load_file, save_file
from torch import Tensor

from trivium.core.commit import commit, discard, verify
from trivium.core.errors import ArtefactError
from trivium.core.run import CHECKPOINTS, Run
from trivium.train.trainer import Trainer

KIND = "checkpoint"


class Companion(Protocol):
    """What changes beside the trainers and must go on as it was: a moving reference, the price of a nat, what a guard has seen."""

    name: str

    def state(self) -> dict[str, Tensor]:
        """Its tensors by name, on the CPU."""
        ...

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `state` gave."""
        ...


class Checkpoints:
    """The checkpoints of the stage that runs: `STAGE/checkpoints/step-N`, the newest `keep` of them.

    every_s: seconds between saves, those of the run if None. When a save happens does not change what is computed, so it may
    follow the clock. companions: saved and restored with the trainers.
    """

    def __init__(self, run: Run, *, every_s: float | None = None, keep: int = 2, companions: Sequence[Companion] = ()) -> None:
        self.run, self.every_s, self.keep = run, run.save_every_s if every_s is None else every_s, keep
        self.companions = companions
        self.folder = run.folder / CHECKPOINTS
        self._last = time.monotonic()
        self.why_stopped: str | None = None  # of the checkpoint that was restored: nothing more is to be trained

    def is_due(self) -> bool:
        """Whether `every_s` seconds have passed since the last save."""
        return time.monotonic() - self._last >= self.every_s

    def has_any(self) -> bool:
        """Whether there is something to go back to."""
        return bool(self._paths())

    def save(self, steps_done: int, trainers: Sequence[Trainer], *, why_stopped: str | None = None) -> Path:
        """Commit the state after `steps_done` steps; older checkpoints go only when it is safe on disk.

        why_stopped: why the training ends here, before its last step.
        """
        path = self.folder / f"step-{steps_done:08d}"
        bases = {trainer.name: trainer.model.base_fingerprint for trainer in trainers}
        facts = {"steps_done": steps_done, "metrics_offset": self.run.metrics_offset(), "seed": self.run.seed, "bases": bases}
        facts |= {"why_stopped": why_stopped} if why_stopped else {}

        def write(folder: Path) -> None:
            for part in (*trainers, *self.companions):
                save_file(part.state(), folder / f"{part.name}.safetensors")
            (folder / "state.json").write_text(json.dumps(facts))

        commit(path, write, kind=KIND, meta=facts)
        for old in self._paths()[: -self.keep]:
            discard(old)
        self._last = time.monotonic()
        return path

    def restore(self, trainers: Sequence[Trainer]) -> int:
        """Load the newest checkpoint that is whole and return its number of steps; 0 and untouched trainers if there is none."""
        for path in reversed(self._paths()):
            try:
                verify(path, kind=KIND)
            except ArtefactError as error:
                self.run.log(f"{error}; using the checkpoint before it")
                discard(path)
                continue
            facts = json.loads((path / "state.json").read_text())
            for trainer in trainers:
                if facts.get("bases", {}).get(trainer.name) != trainer.model.base_fingerprint:
                    raise ArtefactError(
                        f"{path}: belongs to an adapter on another base; delete {self.run.folder} to start this stage again"
                    )
            for part in (*trainers, *self.companions):
                part.load_state(load_file(path / f"{part.name}.safetensors"))
            self.run.rewind_metrics(facts["metrics_offset"])
            self.why_stopped = facts.get("why_stopped")
            return int(facts["steps_done"])
        self.run.rewind_metrics(self.run.metrics_start)
        return 0

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if path.is_dir())
