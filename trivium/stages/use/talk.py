"""A chat in the terminal: one model or several beside each other, or the one that a router chooses, with a memory of what was said."""

import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from trivium.core.commit import commit_file
from trivium.core.errors import ConfigError, DataError, TriviumError
from trivium.core.types import Message
from trivium.generate.sampling import Sampling
from trivium.stages.use.ancestry import texts_behind, was_taught_single_turns
from trivium.stages.use.chat import opened
from trivium.stages.use.deciding import Decider
from trivium.stages.use.tracing import SHORTEST
from trivium.text.write import plain_turns

if TYPE_CHECKING:  # torch is loaded only when a model is
    from trivium.generate.engine import Engine
    from trivium.nn.native.packed import Precision
    from trivium.stages.computing.models import Speaker

HELP = """\
/why         which training documents have phrases of the last answer
/save FILE   write the chat as a line of JSON that `finetune` reads
/reset       forget what was said; the system prompt stays
/help        this
//TEXT       say a text that begins with a slash
An empty line ends the chat; Ctrl-C ends an answer."""


@dataclass(slots=True)
class Voice:
    """A model that takes part. turns: what was said with it, which several voices share where a router chooses between them."""

    name: str
    folder: Path
    speaker: "Speaker"
    engine: "Engine"
    turns: list[Message]
    answer: str = ""  # its last one

    def reads(self, *, has_memory: bool) -> tuple[Message, ...]:
        """What it is asked: everything, or the system prompt and the last line."""
        return tuple(self.turns if has_memory else [turn for turn in self.turns[:1] if turn.role == "system"] + self.turns[-1:])

    def forget(self, most: int) -> int:
        """Drop the oldest exchanges until prompt and answer fit into the context, and say how many turns that were.

        A system prompt at the beginning and the last line stay; if that is still too long, the engine says so. most: tokens of the answer.
        """
        reads = min(model.config.max_seq_len for model in self.engine.models)
        first, dropped = int(self.turns[0].role == "system"), 0
        while len(self.turns) > first + 1 and len(self.speaker.prompt(tuple(self.turns))) + most > reads:
            after = next(place for place in range(first + 1, len(self.turns)) if self.turns[place].role == "user")
            dropped += after - first
            del self.turns[first:after]
        return dropped


def talk(
    models: Mapping[str, Path], sampling: Sampling, *, seed: int, system: str = "", router: Decider | None = None,
    memory: bool | None = None, precision: "Precision" = "float32",
) -> None:  # fmt: skip
    """Read lines from the terminal and answer each, token by token, until an empty line or the end of input.

    models: folders by name. router: chooses among them line by line; without one all of them answer. memory: whether earlier turns are
    read again; None: unless a model was taught by questions of one turn alone. Raises ConfigError if the router knows other models.
    """
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    if router is not None:
        router.check_among(models)
    said: list[Message] = []
    voices = [
        Voice(name, folder, *opened(folder, lambda line: _note(console, line), rows=1, precision=precision), said if router else [])
        for name, folder in models.items()
    ]
    single = [voice.name for voice in voices if was_taught_single_turns(voice.folder)]
    chat = Chat(voices, console, sampling, seed, system, router, has_memory=not single if memory is None else memory)
    for voice in voices:
        reads = min(model.config.max_seq_len for model in voice.engine.models)
        _note(console, f"{voice.name}: {voice.folder}, {voice.speaker.model.num_parameters:,} parameters, reads {reads:,} tokens")
    if memory is None and single:
        _note(console, f"{single[0]} was taught by questions of one turn, so each line is answered for itself; --memory changes that.")
    _note(console, "Ask, for example: What is an axiom?  /help lists what else there is. An empty line ends.")
    chat.run()


class Chat:
    """A chat that goes on. has_memory: whether models read what was said before."""

    def __init__(
        self, voices: list[Voice], console: Console, sampling: Sampling, seed: int, system: str = "", router: Decider | None = None,
        *, has_memory: bool = True,
    ) -> None:  # fmt: skip
        self.voices, self.console, self.sampling, self.seed = voices, console, sampling, seed
        self.system, self.router, self.has_memory, self.lines = system, router, has_memory, 0
        self._reset()

    def run(self) -> None:
        """Line by line, to the end."""
        while True:
            try:
                line = self.console.input("[bold]you:[/bold] " if sys.stdin.isatty() else "").strip()
            except (EOFError, KeyboardInterrupt):
                return
            if not line:
                return
            try:
                self.say(line)
            except TriviumError as error:
                _note(self.console, str(error))

    def say(self, line: str) -> None:
        """Obey a command, or answer a line."""
        if line.startswith("/") and not line.startswith("//"):
            self._obey(line)
            return
        text = line[1:] if line.startswith("//") else line
        asked = self._heard(Message("user", text))
        if len(asked) > 1 and self.console.is_terminal:
            self._answer_beside(asked)
        else:
            for voice in asked:
                self.console.print(f"[bold]{self._label(voice)}:[/bold] ", end="")
                self._answer(voice, lambda piece: self.console.print(piece, end="", markup=False))
                self.console.print()
        self.lines += 1

    def _heard(self, line: Message) -> list[Voice]:
        """The line is a part of the chat, and these answer it. What nobody can read is as if it was not said."""
        for turns in self._transcripts():
            turns.append(line)
        try:
            asked = self._asked()
            for voice in asked:
                if self.has_memory and (dropped := voice.forget(self.sampling.max_new_tokens)):
                    whose = "" if len(self.voices) == 1 or self.router else f"{voice.name}: "
                    _note(self.console, f"{whose}the oldest {dropped} turns no longer fit into what it reads, and are forgotten")
        except TriviumError:
            for turns in self._transcripts():
                turns.pop()
            raise
        return asked

    def _asked(self) -> list[Voice]:
        """Who answers the last line."""
        if self.router is None:
            return self.voices
        [decided] = self.router([self.voices[0].reads(has_memory=self.has_memory)])
        return [voice for voice in self.voices if voice.name == decided.model]

    def _label(self, voice: Voice) -> str:
        return "model" if len(self.voices) == 1 else voice.name

    def _answer(self, voice: Voice, tell: Callable[[str], None]) -> None:
        """One answer; it is part of the chat from then on. What cannot be answered is told, and the line is as if it was not said."""
        from trivium.generate.writing import Writer

        writer = Writer(voice.speaker.tokenizer)
        voice.answer = ""
        try:
            prompt = voice.speaker.prompt(voice.reads(has_memory=self.has_memory))
            with _stoppable() as stopped:
                [answer] = voice.engine.generate(
                    [prompt], self.sampling, seed=self.seed, purpose="chat", step=self.lines, is_over=lambda _: stopped.is_set(),
                    on_token=lambda _, token: tell(_shown(writer.add(token))),
                )  # fmt: skip
        except DataError as error:
            voice.turns.pop()
            tell(str(error))
            return
        tell(_shown(writer.rest()) + " (stopped)" * stopped.is_set())
        voice.answer = voice.speaker.text_of(answer)
        voice.turns.append(Message("assistant", voice.answer))

    def _answer_beside(self, voices: list[Voice]) -> None:
        """A column a model, each filled as its words come."""
        texts = {voice.name: "" for voice in voices}
        with Live(_columns(texts), console=self.console, refresh_per_second=12, vertical_overflow="visible") as live:
            for voice in voices:

                def tell(piece: str, name: str = voice.name) -> None:
                    texts[name] += piece
                    live.update(_columns(texts))

                self._answer(voice, tell)

    def _obey(self, line: str) -> None:
        command, _, rest = line.partition(" ")
        if command == "/help":
            self.console.print(HELP, markup=False)
        elif command == "/reset":
            self._reset()
            _note(self.console, "what was said is forgotten")
        elif command == "/save":
            self._save(rest.strip())
        elif command == "/why":
            self._why()
        else:
            raise ConfigError(f"there is no {command}; /help lists what there is, and //TEXT says a text that begins with a slash")

    def _reset(self) -> None:
        for turns in self._transcripts():
            turns[:] = [Message("system", self.system)] if self.system else []

    def _transcripts(self) -> Iterator[list[Message]]:
        """Each once; behind a router there is one for all."""
        yield from {id(voice.turns): voice.turns for voice in self.voices}.values()

    def _save(self, name: str) -> None:
        if not name:
            raise ConfigError("/save needs a file: /save chat.jsonl")
        path = Path(name)
        if path.exists():
            raise ConfigError(f"{path}: is there already; name another file")
        rows = []
        for voice in self.voices[:1] if self.router else self.voices:
            if any(turn.role == "assistant" for turn in voice.turns):
                row = {"messages": plain_turns(voice.turns)}
                rows.append(row if self.router else {**row, "model": voice.name})
        if not rows:
            raise ConfigError("nothing was said yet")
        commit_file(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        _note(self.console, f"{path}: {len(rows)} chat{'s' * (len(rows) > 1)}")

    def _why(self) -> None:
        """Look in the training text for what was said last."""
        answered = [voice for voice in self.voices if voice.answer]
        if not answered:
            raise ConfigError("nothing was answered yet")
        for voice in answered:
            found = [(trace.stage, phrase) for trace in texts_behind(voice.folder) for phrase in trace.trace(voice.answer)]
            if not found:
                _note(self.console, f"{voice.name}: no phrase of {SHORTEST} tokens is in the text of its pre-training")
            for stage, phrase in found:
                self.console.print(f"{voice.name}, {stage}: {phrase}", markup=False)


@contextmanager
def _stoppable() -> Iterator[Event]:
    """Inside, Ctrl-C sets the event and nothing else."""
    stopped = Event()
    before = signal.signal(signal.SIGINT, lambda *_: stopped.set())
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


def _columns(texts: Mapping[str, str]) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 2))
    for name in texts:
        table.add_column(name, ratio=1, overflow="fold")
    table.add_row(*(Text(text.strip()) for text in texts.values()))
    return table


def _shown(text: str) -> str:
    """What a terminal may be given: lines stay, control characters go."""
    return "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")


def _note(console: Console, line: str) -> None:
    console.print(f"[dim]{escape(line)}[/dim]")
