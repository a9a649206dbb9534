"""Checkpoints: everything a run needs to go on with the same bits, committed as one verified folder.

Safetensors and JSON only. Of weights that are spread over ranks each rank writes its own, and any number of ranks reads them
(train/slices.py). What is saved is copied first, and written in a thread while training goes on. Order, sampling and noise are
functions of (seed, step), so besides weights and optimizer state there is one integer, the length of the metrics file, and the little that
sources and hooks remember. Frozen weights are not in it, only their fingerprint.
"""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from torch import Tensor

from trivium.core.commit import commit, discard, disk_errors, make_folder, verify
from trivium.core.errors import ArtefactError, RankError
from trivium.core.run import CHECKPOINTS, Run
from trivium.train.parallel import rank_and_size
from trivium.train.ranks import once
from trivium.train.saving import Saving
from trivium.train.slices import SLICES, Piece, Saved, merged, pieces, write
from trivium.train.trainer import Trainer

KIND = "checkpoint"
POLL_S = 0.02  # how often rank 0 looks for what another rank has written


class Companion(Protocol):
    """What changes beside the trainers and must go on as it was: a moving reference, the price of a nat, what a guard has seen."""

    name: str

    def state(self) -> dict[str, Tensor]:
        """Its tensors by name, as they are, on every rank."""
        ...

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
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
        self._last, self._saving = time.monotonic(), Saving()
        self.why_stopped: str | None = None  # of the checkpoint that was restored: nothing more is to be trained

    def is_due(self) -> bool:
        """Whether `every_s` seconds have passed since the last save; rank 0 decides. Raises what went wrong in one that goes on."""
        self._saving.look()
        return self.run.is_main and time.monotonic() - self._last >= self.every_s

    def has_any(self) -> bool:
        """Whether there is something to go back to."""
        self.wait()
        return bool(self._paths())

    def save(self, steps_done: int, trainers: Sequence[Trainer], *, why_stopped: str | None = None) -> Path:
        """Commit the state after `steps_done` steps, which may change as soon as this is back.

        Older checkpoints go when it is safe on disk. Every rank calls it. why_stopped: why the training ends here, before its last step.
        Waits for the save before, and raises what went wrong in it.
        """
        path, (rank, size) = self.folder / f"step-{steps_done:08d}", rank_and_size()
        bases = {trainer.name: trainer.model.base_fingerprint for trainer in trainers}
        facts = {"steps_done": steps_done, "metrics_offset": self.run.metrics_offset(), "seed": self.run.seed, "bases": bases}
        facts |= {"why_stopped": why_stopped} if why_stopped else {}
        parts = {trainer.name: pieces(trainer.tensors(), rank) for trainer in trainers}
        parts |= {part.name: pieces(part.state(), rank) for part in self.companions}
        self._saving.start(partial(self._commit, path, facts, parts, size) if rank == 0 else partial(_hand_over, path, rank, parts))
        self._last = time.monotonic()
        return path

    def wait(self) -> None:
        """Until what was saved is safe on disk. Raises what went wrong."""
        self._saving.wait()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave no thread behind, whatever has happened."""
        if error is None:
            self.wait()
        else:
            self._saving.give_up()

    def _commit(self, path: Path, facts: Mapping[str, Any], parts: Mapping[str, Mapping[str, Piece]], size: int) -> None:
        def write_all(folder: Path) -> None:
            write(folder, 0, parts)
            indices = [json.loads((folder / SLICES).read_text())]
            for rank in range(1, size):
                there = _handed_over(path, rank)
                while not there.exists():
                    if self._saving.is_over.wait(POLL_S):
                        raise RankError(f"{path}: rank {rank} has not written its part")
                indices.append(json.loads((there / SLICES).read_text()))
                (there / SLICES).unlink()
                for file in there.iterdir():
                    file.rename(folder / file.name)
                there.rmdir()
            (folder / SLICES).write_text(json.dumps(merged(indices)))
            (folder / "state.json").write_text(json.dumps(facts))

        commit(path, write_all, kind=KIND, meta=facts)
        for old in self._paths()[: -self.keep]:
            discard(old)

    def restore(self, trainers: Sequence[Trainer]) -> int:
        """Load the newest checkpoint that is whole and return its number of steps; 0 and untouched trainers if there is none."""
        self.wait()
        newest = once(self._newest_whole)
        if newest is None:
            self.run.rewind_metrics(self.run.metrics_start)
            return 0
        path = self.folder / newest
        facts = json.loads((path / "state.json").read_text())
        for trainer in trainers:
            if facts.get("bases", {}).get(trainer.name) != trainer.model.base_fingerprint:
                raise ArtefactError(f"{path}: belongs to an adapter on another base; delete {self.run.folder} to start this stage again")
        spread = json.loads((path / SLICES).read_text()) if (path / SLICES).exists() else {}  # of an earlier version, whole
        for part in (*trainers, *self.companions):
            part.load_state(Saved(path, part.name, spread.get(part.name, {})))
        self.run.rewind_metrics(facts["metrics_offset"])
        self.why_stopped = facts.get("why_stopped")
        return int(facts["steps_done"])

    def _newest_whole(self) -> str | None:
        """The name of the newest checkpoint that is as it was written; those that are not go, and what was never put into one."""
        for part in self.folder.glob(".step-*.rank-*"):
            shutil.rmtree(part)
        for path in reversed(self._paths()):
            try:
                verify(path, kind=KIND)
            except ArtefactError as error:
                self.run.log(f"{error}; using the checkpoint before it")
                discard(path)
            else:
                return path.name
        return None

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if path.is_dir())


def _hand_over(path: Path, rank: int, parts: Mapping[str, Mapping[str, Piece]]) -> None:
    """Write what one rank holds beside the checkpoint that it is for; rank 0 puts it there, hashes and syncs it."""
    there = _handed_over(path, rank)
    temporary = there.with_name(f"{there.name}.tmp")
    with disk_errors(path):
        make_folder(path.parent)
        for leftover in (there, temporary):
            shutil.rmtree(leftover, ignore_errors=True)
        temporary.mkdir()
        write(temporary, rank, parts)
        temporary.rename(there)


def _handed_over(path: Path, rank: int) -> Path:
    return path.with_name(f".{path.name}.rank-{rank}")
