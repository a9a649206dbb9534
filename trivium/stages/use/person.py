"""A person as the judge of `evaluate`, in the terminal: grades, what is so of an answer, and which of two answers is better.

No model is named, and which answer comes when is drawn by the seed. Each verdict is a line of verdicts.jsonl in the run folder before the
next question, and is never asked for again: the same command goes on where it was left, also with other options. Of files of answers
without a task `judging.py` asks.
"""

import signal
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from trivium.core.config import component
from trivium.core.interrupt import KEPT, Interrupted
from trivium.core.seeds import generator
from trivium.core.types import Message
from trivium.score.rewards.llm_judge import CRITERIA
from trivium.score.said import Said
from trivium.stages.use.traces import printable
from trivium.stages.use.votes import append, has_lines
from trivium.text.rows import Row, rows
from trivium.text.write import plain_turns

FILE = "verdicts.jsonl"
END = "q"
SCORES = {"a": 1.0, "b": 0.0, "t": 0.5}  # of the answer that is shown first


class Terminal:
    """What a person is shown and asked."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, emoji=False, soft_wrap=not sys.stdout.isatty())

    def show(self, prompt: Sequence[Message], answers: Sequence[str], *, head: str) -> None:
        """A conversation and its answers, by letters if there are several."""
        self.console.print(f"\n[bold]{head}[/bold]")
        for turn in prompt:
            self._part(turn.role, turn.content)
        for letter, answer in zip("AB", answers, strict=False):
            self._part(f"answer {letter}" if len(answers) > 1 else "answer", answer)

    def ask(self, question: str, allowed: Collection[str]) -> str:
        """One of the allowed words in small letters, or END, which the end of input and Ctrl-C say too."""
        while True:
            try:
                said = self.console.input(question, markup=False).strip().lower()
            except (EOFError, KeyboardInterrupt):
                return END
            except UnicodeDecodeError:
                said = ""
            if said in {*allowed, END}:
                return said
            self.console.print("one of these, please")

    def _part(self, title: str, text: str) -> None:
        self.console.print(f"[dim]{title}[/dim]")
        self.console.print(printable(text.strip()) or "(nothing)", markup=False)


@component
class Human:
    """Whoever sits at the terminal."""

    kind: Literal["human"] = "human"

    def open(self, folder: Path, seed: int) -> "Person":
        """The judge of a run in this folder."""
        return Person(folder / FILE, seed)


@dataclass(slots=True)
class Person:
    """A judge that can be asked, as that of `score/rewards/llm_judge.py` can. path: of the verdicts. head: stands above what is shown."""

    path: Path
    seed: int
    head: str = ""
    _given: dict[tuple[Any, ...], str] = field(default_factory=dict)
    _terminal: Terminal = field(default_factory=Terminal)
    _shown: Said | None = None
    criteria: str = CRITERIA

    def __post_init__(self) -> None:
        for row in rows(self.path) if has_lines(self.path) else ():
            self._given |= _verdict(row)

    def words(self, answers: Sequence[Said], criteria: str, allowed: Sequence[str]) -> list[str]:
        """One of the allowed words about each answer. Raises Interrupted when the person stops."""
        return [self._word(said, criteria, allowed) for said in answers]

    def compare(self, pairs: Sequence[tuple[Said, Said]]) -> list[float]:
        """For each two answers to one prompt 1 if the first is better, 0 if the second is, 1/2 for a tie, as are two that are the same.

        A person sees each pair once, in an order that the seed draws. Raises Interrupted when the person stops.
        """
        draw = generator(self.seed, "a person's pairs")
        is_swapped, won = draw.random(len(pairs)) < 0.5, [0.5] * len(pairs)
        for number, place in enumerate(draw.permutation(len(pairs)).tolist(), start=1):
            self.head = f"pair {number:,} of {len(pairs):,}"
            one, other = pairs[place][::-1] if is_swapped[place] else pairs[place]
            if one.response != other.response:
                score = self._better(one, other)
                won[place] = 1 - score if is_swapped[place] else score
        return won

    def _word(self, said: Said, criteria: str, allowed: Sequence[str]) -> str:
        row = {"prompt": plain_turns(said.prompt), "responses": [said.response], "asked": criteria, "allowed": list(allowed)}
        if _key(row) not in self._given:
            if self._shown != said:
                self._terminal.show(said.prompt, [said.response], head=self.head)
                self._shown = said
            short = {word[0]: word for word in allowed} if len({word[0] for word in allowed}) == len(allowed) else {}
            values = f"{allowed[0]} to {allowed[-1]}, the best" if len(allowed) > 2 else " or ".join(allowed)
            word = self._asked(f"{criteria} ({values}; {END}: stop) ", {*allowed, *short})
            self._keep(row, short.get(word, word))
        return self._given[_key(row)]

    def _better(self, one: Said, other: Said) -> float:
        row = {"prompt": plain_turns(one.prompt), "responses": [one.response, other.response], "asked": "better", "allowed": list(SCORES)}
        if (swapped := self._given.get(_key({**row, "responses": [other.response, one.response]}))) is not None:
            return 1 - SCORES[swapped]  # as another seed showed them
        if _key(row) not in self._given:
            self._terminal.show(one.prompt, [one.response, other.response], head=self.head)
            self._shown = None
            self._keep(row, self._asked(f"which is better? a, b, t (they are equal), {END} (stop): ", SCORES))
        return SCORES[self._given[_key(row)]]

    def _asked(self, question: str, allowed: Collection[str]) -> str:
        said = self._terminal.ask(question, allowed)
        if said == END:
            raise Interrupted(signal.SIGINT, KEPT, by="the judge (q, Ctrl-C or the end of input)")
        return said

    def _keep(self, row: Mapping[str, Any], said: str) -> None:
        append(self.path, {**row, "said": said})
        self._given[_key(row)] = said


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    turns = tuple((turn["role"], turn["content"]) for turn in row["prompt"])
    return turns, tuple(row["responses"]), row["asked"], tuple(row["allowed"])


def _verdict(row: Row) -> dict[tuple[Any, ...], str]:
    given = row.values
    try:
        found = {_key(given): given["said"]} if given["said"] in given["allowed"] else {}
    except (KeyError, TypeError):
        found = {}
    if not found:
        row.fail("is no verdict; take the line out, and the person is asked again")
    return found
