"""A chat model writes conversations with itself, piece by piece on disk: what a user says, what it answers, and so on.

A piece holds the conversations that fill the engine's rows a few times; it is committed, below the stage's checkpoints, when it is whole.
So a stage that was killed goes on after its last piece, and memory does not grow with the conversations. What one says depends on (seed,
name of the stage, number of the conversation, turn, weights).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np

from trivium.core.progress import Progress
from trivium.core.run import CHECKPOINTS, Run
from trivium.core.types import Example, Message
from trivium.generate.engine import Engine, IsOver
from trivium.generate.sampling import Sampling
from trivium.stages.base import resolve
from trivium.stages.models import Speaker, engine_of, machine_of, one_chat
from trivium.stages.pieces import Pieces
from trivium.synth.magpie import NO_ROOM, Draft, UserTurn, leads

KIND = "conversations of a model"
ROUNDS = 8  # times that a piece fills the engine's rows


class DialogueOptions(Protocol):
    """The options of `magpie`."""

    @property
    def model(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def turns(self) -> int: ...
    @property
    def domains(self) -> dict[str, str]: ...
    @property
    def asking(self) -> Sampling: ...
    @property
    def answering(self) -> Sampling: ...
    @property
    def one_line(self) -> bool: ...
    @property
    def rows(self) -> int: ...


def write_dialogues(options: DialogueOptions, run: Run) -> Callable[[], Iterator[Draft]]:
    """Write all conversations from the first piece that is not there yet; gives what reads them, in order."""
    speaker = one_chat(Speaker.load(resolve(run, options.model), machine_of(run)))
    writer = _Writer(options, run, speaker, engine_of(run, speaker, rows=options.rows))
    size = ROUNDS * options.rows
    pieces, count = Pieces(run.folder / CHECKPOINTS, KIND), -(-options.count // size)
    with run.progress(options.count * options.turns) as writer.progress:
        for number in range(count):
            first, end = number * size, min(options.count, (number + 1) * size)
            if pieces.has(run, number):
                writer.progress.start_at(end * options.turns)
            else:
                pieces.write(number, map(_row, writer.write(first, end)))
    return lambda: map(_draft, chain.from_iterable(map(pieces.rows, range(count))))


class _Writer:
    """Writes the conversations of a piece, turn by turn, those that go on together."""

    progress: Progress

    def __init__(self, options: DialogueOptions, run: Run, speaker: Speaker, engine: Engine) -> None:
        self.options, self.run, self.speaker, self.engine = options, run, speaker, engine
        self.user = UserTurn.of(speaker.chat, speaker.tokenizer, one_line=options.one_line)

    def write(self, first: int, end: int) -> list[Draft]:
        """The conversations with these numbers."""
        options, speaker = self.options, self.speaker
        domains = list(options.domains) or [""]
        drafts = [Draft(number, domains[number % len(domains)]) for number in range(first, end)]
        for turn in range(options.turns):
            done = first * options.turns + turn * len(drafts)
            going = [draft for draft in drafts if not draft.is_over]
            prompts = [speaker.prequery(leads(draft, options.domains, speaker.chat)) for draft in going]
            for draft, said in self._generate(f"query {turn}", going, prompts, options.asking, done, self.user.is_over):
                draft.hear(self.user.text(said.response), is_stopped=bool(said.meta["stopped"]))
            going = [draft for draft in going if not draft.is_over]
            prompts = [speaker.prompt(tuple(draft.turns)) for draft in going]
            for draft, said in self._generate(f"answer {turn}", going, prompts, options.answering, done):
                draft.answer(speaker.text_of(said).strip(), is_stopped=bool(said.meta["stopped"]))
        self._show(end * options.turns, "")
        return drafts

    def _generate(
        self, purpose: str, drafts: Sequence[Draft], prompts: Sequence[np.ndarray], sampling: Sampling, done: int,
        is_over: IsOver | None = None,
    ) -> list[tuple[Draft, Example]]:  # fmt: skip
        """What is said after each prompt that leaves room; the conversations of the others end. done: turns before these, for progress."""
        reads = self.speaker.model.config.max_seq_len
        fitting = [(draft, prompt) for draft, prompt in zip(drafts, prompts, strict=True) if len(prompt) < reads]
        for draft, prompt in zip(drafts, prompts, strict=True):
            if len(prompt) >= reads:
                draft.end(NO_ROOM)

        def show(count: int) -> None:
            self._show(done if is_over else done + count, f"{count:,} of {len(fitting):,} asked" if is_over else "")

        said = self.engine.generate(
            [prompt for _, prompt in fitting], sampling, seed=self.run.seed, purpose=f"{self.run.stage} {purpose}",
            numbers=[draft.number for draft, _ in fitting], is_over=is_over, on_done=show,
        )  # fmt: skip
        for (draft, _), example in zip(fitting, said, strict=True):
            draft.tokens += len(example.response)
        return [(draft, example) for (draft, _), example in zip(fitting, said, strict=True)]

    def _show(self, done: int, text: str) -> None:
        speed = (done - self.progress.first) / self.progress.seconds
        self.progress.update(done, "  ".join(filter(None, (f"{speed:.2f} instructions/s", text))))


def _row(draft: Draft) -> dict[str, Any]:
    return {"domain": "", **draft.record, "fate": draft.fate, "tokens": draft.tokens}


def _draft(row: Mapping[str, Any]) -> Draft:
    turns = [Message(turn["role"], turn["content"]) for turn in row["messages"]]
    return Draft(row["number"], row["domain"], turns, row["fate"], True, row["tokens"])
