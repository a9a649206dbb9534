"""What studies look at: the trainings of run folders, or model directories with the rows that they were trained on."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trivium.core.errors import ArtefactError, DataError
from trivium.data.pythia import PythiaRows
from trivium.data.sources import TextSource
from trivium.data.training_order import TrainingOrder
from trivium.nn.flops import num_parameters
from trivium.nn.io.config_json import FILE as CONFIG_FILE, read_config
from trivium.stages.base import located
from trivium.stages.kept import models_of
from trivium.stages.machine import Machine
from trivium.stages.pipeline import stored_machine
from trivium.stages.pretrain import Pretrain
from trivium.stages.recipe import load_recipe
from trivium.stages.use.tracing import Trace
from trivium.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from trivium.stages.computing.models import Speaker

ROWS_PER_STEP = 1024  # of a Pythia checkpoint
_STEP = re.compile(r"step-?(\d+)$")  # how the name of a checkpoint's folder ends, if it says how far it is


@dataclass(frozen=True, slots=True)
class Training:
    """A model with the rows that it was trained on, in their order. models: number of updates -> directory, the last one finished.

    num_rows: how many it has seen. heldout: the shard beside its text. trace: of a run folder, which knows the documents too.
    """

    run: str
    stage: str
    num_rows: int
    models: dict[int, Path]
    machine: Machine
    rows: TextSource | None = None
    heldout: Path | None = None
    trace: Trace | None = None

    @property
    def name(self) -> str:
        """As it is called in tables."""
        return f"{self.run}/{self.stage}" if self.stage else self.run

    @property
    def has_order(self) -> bool:
        """Whether it is known what the model was trained on."""
        return self.rows is not None

    @property
    def order(self) -> TrainingOrder:
        """The order of training. Raises DataError of a model directory alone."""
        if self.rows is None:
            raise DataError(
                f"{self.name}: is a model directory, which does not say what it was trained on; name its run folder,"
                " or for a Pythia checkpoint the published rows: published=FOLDER/document"
            )
        return TrainingOrder(self.rows)

    @property
    def seq_len(self) -> int:
        """Of its rows, or what the model reads."""
        return read_config(self.model).max_seq_len if self.rows is None else self.rows.seq_len

    @property
    def model(self) -> Path:
        """The directory of the finished model."""
        return self.models[max(self.models)]

    @property
    def parameters(self) -> int:
        """All of them, from the model's config.json."""
        return num_parameters(read_config(self.model))

    @property
    def fingerprint(self) -> str:
        """Of its tokenizer."""
        return Tokenizer.load(self.model).fingerprint

    @property
    def seconds(self) -> float | None:
        """What the training took, where its run says so."""
        done = self.model.parent / "done.json"
        return json.loads(done.read_text()).get("facts", {}).get("seconds") if done.is_file() else None

    def speaker(self, step: int | None = None) -> "Speaker":
        """The model after so many updates, the finished one if None."""
        return speaker_of(self.model if step is None else self.models[step], self.machine)

    def places(self, count: int) -> np.ndarray:
        """So many places of the order of training, evenly spread over what was seen; all of them if there are no more, ascending."""
        return np.unique(np.linspace(0, self.num_rows - 1, min(count, self.num_rows)).astype(np.int64))


def trainings_of(folders: Sequence[Path], published: str = "") -> list[Training]:
    """Every finished pre-training in these folders, and every model directory; published: the rows of the latter, FOLDER/document.

    A model directory whose name ends with step1000 or step-1000 has seen the rows up to there, any other all. Raises DataError where a
    folder holds neither, and says what it needs.
    """
    found = []
    for folder, name in zip(folders, names_of(folders), strict=True):
        found += _of_model(folder, name, published) if is_model(folder) else _of_run(folder, name)
    if not found:
        raise DataError("there is nothing to look at; name a run folder, or let the study make its own runs")
    return found


def names_of(folders: Sequence[Path]) -> list[str]:
    """What folders are called in tables: each by its own name, those with the same one by their paths."""
    names = [folder.resolve().name for folder in folders]
    return [name if names.count(name) == 1 else str(folder) for folder, name in zip(folders, names, strict=True)]


def is_model(folder: Path) -> bool:
    """Whether a folder is a model directory."""
    return (folder / CONFIG_FILE).is_file()


def speaker_of(path: Path, machine: Machine) -> "Speaker":
    """A model directory, opened."""
    from trivium.stages.computing.models import Speaker

    return Speaker.load(path, machine)


@cache
def this_machine() -> Machine:
    """What this machine is fast at, measured once: for model directories, which no run stands around."""
    return Machine().measured()


def machine_of(folder: Path) -> Machine:
    """The settings that a run was made with, its threads set; for other folders those of this machine."""
    kept = stored_machine(folder / "run.toml")
    return kept.measured() if kept.ceiling else this_machine()


def _of_run(folder: Path, run: str) -> list[Training]:
    file = folder / "run.toml"
    if not file.is_file():
        raise ArtefactError(f"{folder}: is neither a run folder (no run.toml) nor a model directory (no {CONFIG_FILE})")
    stages = {name: stage for name, stage in load_recipe(str(file), {}).stages.items() if isinstance(stage, Pretrain)}
    done = {name: stage for name, stage in stages.items() if (folder / name / "done.json").is_file()}
    if not done:
        raise DataError(f"{folder}: no pre-training of this run is complete; the study needs a stage `pretrain` with its model")
    machine, found = machine_of(folder), []
    for name, stage in done.items():
        trace = Trace.open(folder, name)
        models = models_of(folder / name, stage.steps)
        heldout = located(folder, stage.tokens) / "heldout" if stage.tokens else None
        has_text = heldout is not None and heldout.is_dir()
        num_rows = stage.steps * stage.rows_per_step
        found.append(Training(run, name, num_rows, models, machine, trace.order.source, heldout if has_text else None, trace))
    return found


def _of_model(folder: Path, name: str, published: str) -> list[Training]:
    rows = PythiaRows(Path(published), rows_per_step=ROWS_PER_STEP) if published else None
    said = _STEP.search(folder.resolve().name)
    step = int(said[1]) if said else 0
    num_rows = min(rows.num_rows, step * ROWS_PER_STEP or rows.num_rows) if rows else 0
    return [Training(name, "", num_rows, {step: folder}, this_machine(), rows)]
