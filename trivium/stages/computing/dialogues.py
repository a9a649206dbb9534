"""A chat model writes conversations with itself, piece by piece on disk: what a user says, what it answers, and so on.

A piece holds the conversations that fill the engine's rows a few times; it is committed, below the stage's checkpoints, when it is whole.
So a stage that was killed goes on after its last piece, and memory does not grow with the conversations. What one says depends on (seed,
name of the stage, number of the conversation, turn, weights).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trivium.core.run import Run
from trivium.core.types import Example, Message
from trivium.generate.engine import Engine, IsOver
from trivium.generate.sampling import Sampling
from trivium.stages.computing.answering import ROUNDS
from trivium.stages.computing.models import Speaker, engine_of, one_chat
from trivium.stages.pieces import OnDone, in_pieces
from trivium.synth.magpie import NO_ROOM, Draft, UserTurn, leads

if TYPE_CHECKING:
    from trivium.stages.magpie import Magpie

KIND = "conversations of a model"


def write_dialogues(options: Magpie, run: Run) -> Callable[[], Iterator[Draft]]:
    """Write all conversations from the first piece that is not there yet; gives what reads them, in order."""
    speaker = one_chat(Speaker.of(run, options.model))
    writer = _Writer(options, run, speaker, engine_of(run, speaker, rows=options.rows))

    def make(_: int, numbers: Sequence[int], on_done: OnDone) -> Iterator[dict[str, Any]]:
        return map(_row, writer.write(numbers, on_done))

    size, steps = ROUNDS * options.rows, 2 * options.turns
    rows = in_pieces(run, range(options.count), make, total=options.count, size=size, kind=KIND, steps=steps)

    def draft(row: Mapping[str, Any]) -> Draft:
        turns = [Message(turn["role"], turn["content"]) for turn in row["messages"]]
        return Draft(row["number"], row["domain"], turns, row["fate"], True, row["tokens"])

    return lambda: map(draft, rows())


class _Writer:
    """Writes the conversations of a piece, turn by turn, those that go on together."""

    def __init__(self, options: Magpie, run: Run, speaker: Speaker, engine: Engine) -> None:
        self.options, self.run, self.speaker, self.engine = options, run, speaker, engine
        self.user = UserTurn.of(speaker.chat, speaker.tokenizer, one_line=options.one_line)

    def write(self, numbers: Sequence[int], on_done: OnDone) -> list[Draft]:
        """The conversations with these numbers."""
        options, speaker = self.options, self.speaker
        domains = list(options.domains) or [""]
        drafts = [Draft(number, domains[number % len(domains)]) for number in numbers]
        for turn in range(options.turns):
            done = 2 * turn * len(drafts)
            going = [draft for draft in drafts if not draft.is_over]
            prompts = [speaker.prequery(leads(draft, options.domains, speaker.chat)) for draft in going]
            asked = self._generate(f"query {turn}", going, prompts, options.asking, _after(done, on_done), self.user.is_over)
            for draft, said in asked:
                draft.hear(self.user.text(said.response), is_stopped=bool(said.meta["stopped"]))
            going = [draft for draft in going if not draft.is_over]
            prompts = [speaker.prompt(tuple(draft.turns)) for draft in going]
            answered = self._generate(f"answer {turn}", going, prompts, options.answering, _after(done + len(drafts), on_done))
            for draft, said in answered:
                draft.answer(speaker.text_of(said).strip(), is_stopped=bool(said.meta["stopped"]))
        return drafts

    def _generate(
        self, purpose: str, drafts: Sequence[Draft], prompts: Sequence[np.ndarray], sampling: Sampling, on_done: OnDone,
        is_over: IsOver | None = None,
    ) -> list[tuple[Draft, Example]]:  # fmt: skip
        """What is said after each prompt that leaves room; the conversations of the others end."""
        reads = self.speaker.model.config.max_seq_len
        fitting = [(draft, prompt) for draft, prompt in zip(drafts, prompts, strict=True) if len(prompt) < reads]
        for draft, prompt in zip(drafts, prompts, strict=True):
            if len(prompt) >= reads:
                draft.end(NO_ROOM)
        said = self.engine.generate(
            [prompt for _, prompt in fitting], sampling, seed=self.run.seed, purpose=f"{self.run.stage} {purpose}",
            numbers=[draft.number for draft, _ in fitting], is_over=is_over, on_done=on_done,
        )  # fmt: skip
        for (draft, _), example in zip(fitting, said, strict=True):
            draft.tokens += len(example.response)
        return [(draft, example) for (draft, _), example in zip(fitting, said, strict=True)]


def _after(before: int, on_done: OnDone) -> OnDone:
    return lambda done: on_done(before + done)


def _row(draft: Draft) -> dict[str, Any]:
    return {"domain": "", **draft.record, "fate": draft.fate, "tokens": draft.tokens}
