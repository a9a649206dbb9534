"""Talking to a model: in a terminal, or a file of prompts at once."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from trivium.core.errors import ConfigError, DataError
from trivium.core.types import Message
from trivium.generate.sampling import Sampling
from trivium.nn.io.adapter_config import is_adapter
from trivium.nn.io.proxy_json import is_proxy
from trivium.stages.exchange import model_path
from trivium.stages.machine import Machine
from trivium.text.read import check_head, read_prompts
from trivium.text.tokenizer import Tokenizer

if TYPE_CHECKING:  # torch is loaded only when a model is
    from trivium.generate.engine import Engine
    from trivium.stages.models import Speaker

LAST_FIRST = ("proxy", "reinforce", "prefer", "finetune", "pretrain")  # which model of a run to talk to


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


def talk(folder: Path, *, temperature: float, max_new_tokens: int, seed: int) -> None:
    """Read lines from the terminal and answer each, token by token, until an empty line or the end of input."""
    sampling = Sampling(temperature=temperature, max_new_tokens=max_new_tokens)
    console = Console(highlight=False)
    speaker, engine = _opened(folder, console)
    console.print(
        f"[dim]{escape(str(folder))}: {speaker.model.num_parameters:,} parameters, no memory of earlier turns. "
        "Ask, for example: What is an axiom?  An empty line ends.[/dim]"
    )
    for turn in range(sys.maxsize):
        try:
            text = console.input("[bold]you:[/bold] ").strip()
        except (EOFError, KeyboardInterrupt):
            return
        if not text:
            return
        spoken = _Spoken(speaker.tokenizer, console)
        try:
            console.print("[bold]model:[/bold] ", end="")
            engine.generate([speaker.prompt((Message("user", text),))], sampling, seed=seed, purpose="chat", step=turn, on_token=spoken.add)
        except DataError as error:
            console.print(str(error), end="")
        console.print()


def _opened(folder: Path, console: Console) -> "tuple[Speaker, Engine]":
    """The model of a folder and what samples from it; says on the console if that is slower than it might be."""
    from trivium.generate.engine import Engine
    from trivium.stages.models import Speaker, slower_sampling

    speaker = Speaker.load(folder, Machine(precision="float32").measured())
    engine = Engine(speaker.model, stop_ids=speaker.stop_ids)
    if line := slower_sampling(engine):
        console.print(f"[dim]{escape(line)}[/dim]")
    return speaker, engine


class _Spoken:
    """Shows an answer token by token: a character of several tokens when its last one has come, control characters never."""

    def __init__(self, tokenizer: Tokenizer, console: Console) -> None:
        self.tokenizer, self.console = tokenizer, console
        self.ids: list[int] = []
        self.shown = 0

    def add(self, _: int, token: int) -> None:
        self.ids.append(token)
        text = self.tokenizer.decode(self.ids)
        if not text.endswith("\ufffd"):
            plain = "".join(letter for letter in text[self.shown :] if letter.isprintable() or letter in "\n\t")
            self.console.print(plain, end="", markup=False)
            self.shown = len(text)


def answer_all(folder: Path, prompts: str, *, temperature: float, max_new_tokens: int, seed: int) -> Iterator[str]:
    """One JSON line {prompt, response, stopped} for each prompt of a file, or for the one prompt that was given as text."""
    sampling = Sampling(temperature=temperature, max_new_tokens=max_new_tokens)
    is_file = os.path.exists(prompts)  # Path.exists raises for a text longer than a file name may be
    if is_file:
        check_head(prompts, "prompts")
    speaker, engine = _opened(folder, Console(stderr=True, highlight=False, soft_wrap=True))
    messages = list(read_prompts(prompts)) if is_file else [(Message("user", prompts),)]
    answers = engine.generate([speaker.prompt(each) for each in messages], sampling, seed=seed)
    for each, answer in zip(messages, answers, strict=True):
        yield json.dumps(
            {"prompt": each[-1].content, "response": speaker.text_of(answer), "stopped": answer.meta["stopped"]}, ensure_ascii=False
        )
