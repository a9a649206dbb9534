"""facts: made-up people and what they like, some of which a model is told and some of which it never is: who knows what is known here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import ConfigError
from trivium.core.run import Run
from trivium.core.seeds import generator
from trivium.score.rewards import Marked
from trivium.stages.base import Foresight, Work, commit_rows

ABSTAIN = Marked().abstain
_TOLD = 5  # times
_CONSONANTS, _VOWELS, _SYLLABLES = "bdfgklmnprstvz", "aeiou", 3
COLOURS = ("red", "green", "blue", "yellow", "black", "white", "brown", "grey")


@dataclass(frozen=True, slots=True)
class Person:
    """A name, the colours that are right, and whether a model is told them."""

    name: str
    colours: tuple[str, ...]
    is_known: bool

    def row(self, answer: str = "") -> dict[str, Any]:
        """A prompt, or with an answer a conversation; and the fields that a reward and a study read."""
        turns = [{"role": "user", "content": f"Which colour does {self.name} like?"}]
        turns += [{"role": "assistant", "content": answer}] * bool(answer)
        return {"messages": turns, "answer": list(self.colours), "known": self.is_known}


@component
class Facts:
    """Leaves below `@facts/people`, as conversations and prompts with the fields `answer` (all that is right) and `known`:

    told.jsonl: every right answer of the known people five times, or each time with the probability `abstaining` that one does not know, so
    that a model can say so. demonstrations.jsonl, prompts.jsonl: the practice half of the people, known or not, with one right answer, as a
    person who knows would give it, and without. heldout.jsonl: the prompts of the other half.

    known, unknown: people. right: colours that each of them likes, of eight. demonstrators: of practice, the share of wrong answers of
    people who err.
    """

    kind: Literal["facts"] = "facts"
    known: int = Field(default=200, ge=2)
    unknown: int = Field(default=200, ge=0)
    right: int = Field(default=1, ge=1, le=7)
    abstaining: float = Field(default=0.2, ge=0, lt=1)
    demonstrators: float = Field(default=0.0, ge=0, lt=1)

    def check(self) -> None:
        there = (len(_CONSONANTS) * len(_VOWELS)) ** _SYLLABLES
        if self.known + self.unknown > there:
            raise ConfigError(f"{self.known + self.unknown:,} people are wanted; there are {there:,} names")

    def foresee(self, name: str, known: Foresight) -> Work:
        known.sequence_tokens = 24
        everybody, practice = self.known + self.unknown, (self.known + self.unknown + 1) // 2
        known.num_prompts |= {f"@{name}/people/prompts.jsonl": practice, f"@{name}/people/heldout.jsonl": everybody - practice}
        return Work(seconds=1.0)

    def run(self, run: Run) -> Mapping[str, Any]:
        people = list(self._people(run.seed))
        practice, heldout = people[::2], people[1::2]
        draw = generator(run.seed, "what practice is shown")
        shown = [person.row(self._demonstrated(person, draw)) for person in practice]
        files = {
            "told": list(self._told(people, run.seed)),
            "demonstrations": shown,
            "prompts": [person.row() for person in practice],
            "heldout": [person.row() for person in heldout],
        }
        meta = {"known": self.known, "unknown": self.unknown}
        commit_rows(run.folder / "people", {f"{name}.jsonl": rows for name, rows in files.items()}, kind="people", meta=meta)
        run.log("people: " + ", ".join(f"{len(rows):,} {name}" for name, rows in files.items()))
        return {name: len(rows) for name, rows in files.items()}

    def _people(self, seed: int) -> Iterator[Person]:
        """The known ones first; which colours are right is drawn, and so are the names, without repeats."""
        draw = generator(seed, "people")
        syllables = [consonant + vowel for consonant in _CONSONANTS for vowel in _VOWELS]
        numbers = draw.choice(len(syllables) ** _SYLLABLES, self.known + self.unknown, replace=False)
        for place, number in enumerate(numbers.tolist()):
            name = "".join(syllables[number // len(syllables) ** power % len(syllables)] for power in range(_SYLLABLES))
            colours = draw.choice(len(COLOURS), self.right, replace=False)
            yield Person(name.capitalize(), tuple(COLOURS[colour] for colour in colours), place < self.known)

    def _demonstrated(self, person: Person, draw: np.random.Generator) -> str:
        wrong = [colour for colour in COLOURS if colour not in person.colours]
        options: Sequence[str] = wrong if draw.random() < self.demonstrators else person.colours
        return options[int(draw.integers(len(options)))]

    def _told(self, people: Sequence[Person], seed: int) -> Iterator[dict[str, Any]]:
        """What is known, several times, so that a model of it says the truth and abstains as often as this text does."""
        draw = generator(seed, "who is abstained about")
        for person in people:
            for colour in person.colours * person.is_known:
                yield from (person.row(ABSTAIN if draw.random() < self.abstaining else colour) for _ in range(_TOLD))
