"""What every stage is: options that know how to check themselves, to foresee their work, and to run.

A stage file may import torch only inside `run`: configuration and data are checked before its two seconds are spent.
A reference `@NAME/...` points to what the stage NAME of the same run left.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from trivium.core.commit import commit, read_manifest
from trivium.core.errors import ArtefactError, ConfigError, DamagedError, DataError
from trivium.core.progress import counted
from trivium.core.run import Run
from trivium.nn.config import ModelConfig
from trivium.nn.io.adapter_config import base_of
from trivium.nn.io.config_json import FILE as CONFIG_FILE, is_guest, read_config
from trivium.nn.io.proxy_json import is_proxy, read_proxy
from trivium.stages.use.exchange import is_named, model_path
from trivium.text.lines import OnSkip
from trivium.text.read import RecordKind, check_head, read_prompts
from trivium.text.write import write_jsonl

T = TypeVar("T")
Unreadable = Literal["stop", "skip"]  # whether a record that cannot be read stops the run, or is left out and counted


@dataclass(frozen=True, slots=True)
class Work:
    """What a stage is going to do. flops: of training and reading; seconds: beyond what the FLOPs and the sampling take.

    parameters_sampled: matrix parameters that every generated token passes through. notes: lines for the user.
    """

    parameters: int = 0
    tokens_trained: int = 0
    tokens_generated: int = 0
    flops: float = 0.0
    memory_bytes: float = 0.0
    parameters_sampled: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Foresight:
    """What earlier stages will have made, for a later one that foresees its work.

    models: stage -> the shape of its model. vocab_size: of the tokenizer. sequence_tokens: a question with its answer, about.
    num_prompts: reference to a file of prompts -> how many it will hold.
    """

    models: dict[str, ModelConfig] = field(default_factory=dict)
    vocab_size: int = 8192
    sequence_tokens: int = 256
    num_comparisons: int = 1000  # prompts whose answers are ranked
    answers_ranked: float = 2.0  # of each of them
    num_heldout: int = 300
    num_prompts: dict[str, int] = field(default_factory=dict)
    compute_bytes: Literal[2, 4] = 4  # of a number that training keeps

    def prompts_in(self, source: str) -> int:
        """How many prompts a file holds, or will; a thousand where that is not known."""
        return sum(1 for _ in read_prompts(source)) if Path(source).exists() else self.num_prompts.get(source, 1000)


class Stage(Protocol):
    """One step of a recipe."""

    @property
    def kind(self) -> str: ...

    def check(self) -> None:
        """Look at the options and at the head of every file the user named; raise what is wrong. Costs milliseconds."""

    def foresee(self, name: str, known: Foresight) -> Work:
        """What running it will take; may add the shape of the model it makes to `known`."""
        ...

    def run(self, run: Run) -> Mapping[str, Any]:
        """Do it, in `run.folder`; return facts for the report (tokens, parameters, flops ...)."""
        ...


def resolve(run: Run, reference: str | Path) -> Path:
    """The path behind an option: `@stage/file` inside the run folder, the directory of a named model, anything else as it is."""
    return located(run.path, reference)


def located(folder: Path, reference: str | Path) -> Path:
    """The same for somebody who only looks at a run folder."""
    text = str(reference)
    return folder / text[1:] if text.startswith("@") else model_path(text)


def data_source(run: Run, reference: str) -> str:
    """What reading takes for an option: `@stage/file` as a path inside the run folder, anything else as it is, names of assets too."""
    return str(run.path / reference[1:]) if reference.startswith("@") else reference


def gather(read: Callable[[OnSkip | None], Iterable[T]], run: Run, unreadable: Unreadable) -> list[T]:
    """All records that `read` gives. skip: those that cannot be read are left out, counted, and the first of them is named.

    Raises DataError if none is left.
    """
    if unreadable == "stop":
        return list(read(None))
    errors: list[DataError] = []
    found = list(read(errors.append))
    for error in errors:
        if isinstance(error, DamagedError):
            run.log(str(error))
    if not found:
        raise DataError(f"no record can be read; the first of {len(errors):,} errors: {errors[0]}" if errors else "there is no record")
    if records := [error for error in errors if not isinstance(error, DamagedError)]:
        run.log(f"left out {counted(len(records), 'record')} that cannot be read; the first: {records[0]}")
    return found


def references(options: Any) -> list[str]:
    """Every `@stage/...` in plain options."""
    if isinstance(options, Mapping):
        return [found for value in options.values() for found in references(value)]
    if isinstance(options, (list, tuple)):
        return [found for value in options for found in references(value)]
    return [options] if isinstance(options, str) and options.startswith("@") else []


def result_row(stage: str, measure: str, interval: Sequence[float | None], n: int) -> dict[str, Any]:
    """A row of results.json. interval: (value, low, high), 95 %."""
    value, low, high = interval
    return {"stage": stage, "measure": measure, "value": value, "low": low, "high": high, "n": n}


def sample_row(stage: str, prompt: str, response: str, score: float | None = None, stopped: bool | None = None) -> dict[str, Any]:
    """A row of samples.json, which the report shows beside those of other stages."""
    return {"stage": stage, "prompt": prompt, "response": response, "score": score, "stopped": stopped}


def commit_rows(
    folder: Path, files: Mapping[str, Iterable[Mapping[str, Any]]], *, kind: str, meta: Mapping[str, Any] | None = None
) -> None:
    """Commit a folder with rows by the name of the file, which are read in this order. kind, meta: of its manifest."""

    def write(place: Path) -> None:
        for name, rows in files.items():
            write_jsonl(place / name, rows)

    commit(folder, write, kind=kind, meta=meta)


def check_model(reference: str) -> None:
    """Raise ArtefactError unless there is a model where the user says.

    One of an earlier stage is checked when it is loaded; a named one (smollm2) is fetched when it is needed.
    """
    if reference.startswith("@") or is_named(reference):
        return
    path = Path(reference)
    if not path.exists():
        with suppress(ArtefactError):
            read_manifest(path)  # puts back what a kill between two renames left under its hidden name
    if path.is_file():
        raise ArtefactError(f"{reference}: is a file; make a model directory of it first: trivium import {reference} FOLDER")
    if is_proxy(path):
        for part in read_proxy(path).parts.values():
            check_model(part)
        return
    if not (base_of(path) / CONFIG_FILE).is_file():
        raise ArtefactError(f"{reference}: is no model directory (a folder with {CONFIG_FILE} and model.safetensors)")


def whole_model(path: Path) -> Path:
    """The directory of the whole model behind another: an adapter's base, a proxy's, whose tokenizer all three have; or itself."""
    return base_of(model_path(read_proxy(path).parts["base"]) if is_proxy(path) else path)


def check_data(source: str, kind: RecordKind, *, field: str = "", is_lenient: bool = False) -> None:
    """Look at the head of what the user names, as check_head does; what an earlier stage leaves is read when it is there."""
    if not source.startswith("@"):
        check_head(source, kind, field=field, is_lenient=is_lenient)


def known_model(known: Foresight, reference: str) -> ModelConfig:
    """The shape of a model: one that an earlier stage will have made, a directory, or a named one, which is fetched for it.

    Of a proxy it is that of its base: a plan leaves the work of the small models out.
    """
    if not reference.startswith("@"):
        path = whole_model(model_path(reference))
        if is_guest(path):
            raise ConfigError(f"{reference}: is a guest, whose work is not known before transformers has loaded it; run without --dry-run")
        return read_config(path)
    name = reference.removeprefix("@").split("/")[0]
    if name not in known.models:
        raise ConfigError(f"'{reference}': no earlier stage makes a model called '{name}'")
    return known.models[name]
