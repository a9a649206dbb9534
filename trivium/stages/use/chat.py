"""Models that are talked to: which one a folder means, what people call it, and a file of prompts answered at once."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trivium.core.errors import ConfigError, DataError
from trivium.core.types import Message
from trivium.generate.sampling import Sampling
from trivium.nn.io.adapter_config import is_adapter
from trivium.nn.io.proxy_json import is_proxy
from trivium.stages.machine import Machine
from trivium.stages.use.exchange import model_path
from trivium.text.read import check_head, read_prompts
from trivium.text.rows import is_known

if TYPE_CHECKING:  # torch is loaded only when a model is
    from trivium.generate.engine import Engine
    from trivium.nn.native.packed import Precision
    from trivium.stages.computing.models import Speaker

LAST_FIRST = ("proxy", "reinforce", "prefer", "finetune", "pretrain")  # which model of a run to talk to
ROUTER = "router"  # the name of the model that is another one for each prompt
ROWS = 64  # answers to a file that are made at once
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def best_model(run_folder: Path) -> Path | None:
    """The model that a run made last; None if it made none."""
    return next((run_folder / name / "model" for name in LAST_FIRST if (run_folder / name / "model").is_dir()), None)


def model_folder(path: Path) -> Path:
    """A model directory, a named model (smollm2), or the last model of a run folder. Raises ConfigError if there is none."""
    path = model_path(path)
    if (path / "config.json").exists() or is_adapter(path) or is_proxy(path):
        return path
    found = best_model(path) if path.is_dir() else None
    if found is None:
        hint = f"; make a directory of a file first: trivium import {path} FOLDER" if path.is_file() else ""
        raise ConfigError(f"{path}: is neither a model directory nor a run folder with a model in it{hint}")
    return found


def named(models: Sequence[str], *, alone: str = "") -> dict[str, Path]:
    """The names that people use, with the models' folders: NAME=MODEL, or a model alone, which gives its own name.

    A folder called model has the name of the one above it. alone: what a single model is called instead, wherever it lies.
    Raises ConfigError for names that are equal or cannot be used.
    """
    if alone and len(models) == 1 and ("=" not in models[0] or os.path.exists(models[0])):
        return {alone: model_folder(Path(models[0]))}
    found: dict[str, Path] = {}
    for text in models:
        name, given, path = text.partition("=")
        folder = Path(path if given else text)
        parts = [part for part in Path(os.path.abspath(folder)).parts if part != "model"]
        name = name if given else parts[-1]
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{text}: a model's name is 1 to 64 letters, digits, '.', '_' and '-'; give one as NAME={folder}")
        if name == ROUTER:
            raise ConfigError(f"{text}: '{ROUTER}' is what the router is called; give the model another name as NAME={folder}")
        if name in found:
            raise ConfigError(f"two models are called '{name}'; give one another name: {name}-2={folder}")
        found[name] = model_folder(folder)
    return found


def opened(folder: Path, log: Callable[[str], object], *, rows: int, precision: "Precision" = "float32") -> "tuple[Speaker, Engine]":
    """The model of a folder and what samples from it, so many answers at once; says if that is slower than it might be.

    precision: see Engine.
    """
    from trivium.generate.engine import Engine
    from trivium.stages.computing.models import Speaker, slower_sampling

    speaker = Speaker.load(folder, Machine(precision="float32").measured())
    engine = Engine(speaker.model, stop_ids=speaker.stop_ids, rows=rows, precision=precision)
    if line := slower_sampling(engine):
        log(line)
    return speaker, engine


def prompts_in(given: str) -> list[tuple[Message, ...]]:
    """The prompts of a file, or the one prompt that was given as text. Raises DataError for what can only be the name of a file."""
    if not os.path.exists(given):  # Path.exists raises for a text longer than a file name may be
        if " " not in given and is_known(Path(given)):
            raise DataError(f"{given}: there is no such file; a prompt that is meant to be read as text has a space in it")
        return [(Message("user", given),)]
    check_head(given, "prompts")
    return list(read_prompts(given))


def answer_all(folder: Path, prompts: str, sampling: Sampling, *, seed: int, precision: "Precision" = "float32") -> Iterator[str]:
    """One JSON line {prompt, response, stopped} for each prompt of a file, or for the one prompt that was given as text."""
    messages = prompts_in(prompts)
    speaker, engine = opened(folder, lambda line: sys.stderr.write(f"{line}\n"), rows=ROWS, precision=precision)
    answers = engine.generate([speaker.prompt(each) for each in messages], sampling, seed=seed)
    for each, answer in zip(messages, answers, strict=True):
        yield json.dumps(
            {"prompt": each[-1].content, "response": speaker.text_of(answer), "stopped": answer.meta["stopped"]}, ensure_ascii=False
        )
