"""A constitution: principles in words, as data; what a model is asked to find fault with, to mend, and to compare answers by.

Bai et al. 2022, arXiv:2212.08073, sections 3.1 and 4.1: their 16 pairs of a critique request and a revision request, and their 16
comparison questions are lists of their own; here a principle has all three. The texts of the shipped ones are ours.
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import Field

from trivium.core.config import Texts, build, component, read_toml
from trivium.core.errors import ConfigError, did_you_mean
from trivium.core.progress import counted
from trivium.core.seeds import generator


@component
class Principle:
    """critique: asks what is wrong with an answer; revision: asks to write it again; comparison: asks which of two answers is better.

    phrases: what the principle is against, for simulated readers, which know nothing else; may be left out.
    """

    name: str = Field(min_length=1)
    critique: str = Field(min_length=1)
    revision: str = Field(min_length=1)
    comparison: str = Field(min_length=1)
    phrases: Texts = ()


@component
class Revised:
    """An example of a critique and a revision by a principle, which stands before what the model is asked."""

    principle: str
    prompt: str
    response: str
    critique: str
    revision: str


@component
class Compared:
    """An example of a comparison. answer: which of the two is better, A (first) or B. reasoning: shown where the judge is to reason."""

    principle: str
    prompt: str
    first: str
    second: str
    reasoning: str
    answer: str = Field(pattern="^[AB]$")


@component
class Constitution:
    """about: for the log. principles: at least one, each with a name of its own.

    revised, compared: examples (few-shot), in the order they are shown in.
    """

    about: str = ""
    principles: tuple[Principle, ...] = Field(min_length=1)
    revised: tuple[Revised, ...] = ()
    compared: tuple[Compared, ...] = ()

    def __post_init__(self) -> None:
        names = [principle.name for principle in self.principles]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two principles are called '{twice}'; each needs a name of its own")
        for part, examples in (("revised", self.revised), ("compared", self.compared)):
            for number, example in enumerate(examples):
                if example.principle not in names:
                    raise ValueError(f"{part}[{number}].principle is '{example.principle}'{did_you_mean(example.principle, names)}")

    def told(self, name: str) -> str:
        """A line about it for a log."""
        return f"constitution {name}: {counted(len(self.principles), 'principle')}{f'; {self.about}' if self.about else ''}"

    def named(self, name: str) -> Principle:
        """The principle of this name."""
        return next(principle for principle in self.principles if principle.name == name)

    def drawn(self, seed: int, purpose: str, number: int, count: int) -> list[Principle]:
        """So many principles for the prompt of this number, each by lot among all of them: one may come twice, as published."""
        places = generator(seed, purpose, number).integers(len(self.principles), size=count)
        return [self.principles[place] for place in places]

    def different(self, seed: int, purpose: str, number: int, count: int) -> list[Principle]:
        """So many different principles for the prompt of this number, by lot."""
        places = generator(seed, purpose, number).permutation(len(self.principles))[:count]
        return [self.principles[place] for place in places]


def shipped_constitutions() -> dict[str, Path]:
    """Name -> file of those that come with the package."""
    folder = Path(str(resources.files("trivium"))) / "synth" / "constitutions"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_constitution(name: str) -> Constitution:
    """One by the name of a shipped one or by its path. Raises ConfigError naming the file and what is wrong with it."""
    path = shipped_constitutions().get(name) or Path(name)
    if not path.exists():
        raise ConfigError(
            f"there is no constitution '{name}'{did_you_mean(name, shipped_constitutions())}; or give the path of a TOML file"
        )
    options = read_toml(path)
    if not _are_tables(options.get("principles")):
        raise ConfigError(f"{path}: a constitution has a table [[principles]] for each principle, and at least one")
    return build(Constitution, options, where=str(path))


def need_phrases(constitution: Constitution, name: str) -> None:
    """Raise ConfigError if a principle has nothing that a simulated reader could look for."""
    for principle in constitution.principles:
        if not principle.phrases:
            raise ConfigError(
                f"constitution '{name}': principle '{principle.name}' has no phrases, which is all that a simulated reader knows;"
                " give it phrases, or let a model read"
            )


def _are_tables(value: Any) -> bool:
    return isinstance(value, Sequence) and bool(value) and all(isinstance(item, Mapping) for item in value)
