"""The models of pre-training as they were on the way: after 0, 1, 2, 4, 8 ... updates, and then every so many.

Biderman et al. 2023 (Pythia), arXiv:2304.01373, section 2.4: 154 of them for `keep_every = 1000` of 143,000. They are model directories
without the state of the optimizer; what a kill can cost is kept elsewhere (train/checkpoint.py).
"""

from collections.abc import Callable
from pathlib import Path

STEPS = "steps"


def is_kept(step: int, every: int) -> bool:
    """Whether the model after this many updates stays: 0, the powers of two below `every`, its multiples. 0 keeps none."""
    return every > 0 and (step % every == 0 or (step < every and step & (step - 1) == 0))


def kept_folder(stage: Path, step: int) -> Path:
    """Where the model after this many updates lies."""
    return stage / STEPS / f"step-{step}"


def models_of(stage: Path, last: int) -> dict[int, Path]:
    """Number of updates -> model directory, ascending; the finished model, which has had `last`, is among them."""
    found = {int(folder.name.removeprefix("step-")): folder for folder in (stage / STEPS).glob("step-*") if folder.is_dir()}
    return dict(sorted({**found, last: stage / "model"}.items()))


class Keep:
    """A hook of the loop that leaves the model directories; `save` writes one. `first`: updates the model has had before."""

    def __init__(self, stage: Path, every: int, first: int, save: Callable[[Path], None]) -> None:
        self.stage, self.every, self.save = stage, every, save
        if is_kept(first, every) and not kept_folder(stage, first).is_dir():
            save(kept_folder(stage, first))

    def __call__(self, done: int, metrics: dict[str, float]) -> None:
        """After update number `done`."""
        if is_kept(done, self.every):
            self.save(kept_folder(self.stage, done))
