"""What a study is: a question about the data or the training, a rule that is written before anything runs, and how it is answered.

A study is its own configuration: its fields are its options, `find` does the work. It looks at run folders or model directories of the
user's own, or at runs that it makes for itself, or at a table or plain numbers among its options. Adding one is a file beside this one
and a line in catalogue.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from trivium.core.errors import ConfigError
from trivium.studies.finding import Finding

Preset = Literal["laptop", "gpu"]


@dataclass(frozen=True, slots=True)
class Trial:
    """A run that a study makes: a shipped recipe (or a file), what is put over it, and its folder's name if not that of the recipe.

    Studies that name the same folder share the run. It is a pipeline like any other: complete stages are skipped.
    """

    recipe: str
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    @property
    def folder(self) -> str:
        """The name of its run folder."""
        return self.name or self.recipe


def refuse_folders(folders: Sequence[Path], instead: str) -> None:
    """Raise ConfigError if there are folders, at which nobody would look. instead: what the study looks at."""
    if folders:
        raise ConfigError(f"{folders[0]}: the study looks at {instead}, not at folders; leave one of both out")


class Study(Protocol):
    """A question with its rule.

    claim: what is said in the literature, in few words, and by whom. rule: what is counted as a yes, and by which test, written before
    running; {option} in it stands for the value of an option. expected: what one should see at the laptop's size, said beforehand.
    """

    name: ClassVar[str]
    claim: ClassVar[str]
    question: ClassVar[str]
    rule: ClassVar[str]
    expected: ClassVar[str]

    def trials(self, preset: Preset) -> Sequence[Trial]:
        """The runs to be made where the user names no folder; none if the options are enough."""
        ...

    def find(self, folders: Sequence[Path]) -> Finding:
        """The answer from run folders or model directories, those of the trials or the user's; () where there is no trial.

        Raises DataError that says what is missing in them, and how one gets it.
        """
        ...
