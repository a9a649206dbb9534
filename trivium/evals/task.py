"""Tasks: a TOML file that says where the records are, how each becomes a prompt, and what the model is asked.

    about = "Grade school science questions."
    data = "arc_easy.jsonl"                        # beside this file; or pypi:..., hf:..., the name of an asset
    prompt = "Question: {{question}}\\nAnswer:"
    [scoring]
    kind = "choices"

A reference to a task is the name of a shipped one, its name with data of one's own (`arc_easy:FILE`), or the path of such a file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from trivium.core.config import build, component, merge, read_toml
from trivium.core.errors import ConfigError, DataError, did_you_mean
from trivium.core.seeds import generator, key
from trivium.core.types import Message
from trivium.evals.scoring import Alone, Answer, AnyScoring, Choices, Dialogue, Preference, Request
from trivium.evals.templates import evaluate, render
from trivium.score.rewards.opened import check_rules
from trivium.text import assets
from trivium.text.hub import is_hub
from trivium.text.read import check_head, read_fields

FOREIGN = "lm_eval:"  # what a reference to a task of lm-eval begins with
_HEAD = 3


def foreign_name(reference: str) -> str:
    """What a task of lm-eval is called among ours, one of which may be called as it is.

    >>> foreign_name("lm_eval:folder/boolq.yaml")
    'lm_eval-boolq'
    """
    return f"lm_eval-{Path(reference.removeprefix(FOREIGN)).stem}"


@component
class Section:
    """Groups whose items are reported together, each item with the weight of its group (1 unless `weights` says another).

    is_even: every group counts the same, however many items it has. weight: of the section in the mean of all sections.
    """

    groups: tuple[str, ...] = Field(min_length=1)
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(default={})
    is_even: bool = False
    weight: float = Field(default=1.0, gt=0)

    def __post_init__(self) -> None:
        if odd := next((group for group in self.weights if group not in self.groups), None):
            raise ValueError(f"weights: '{odd}' is none of the section's groups{did_you_mean(odd, self.groups)}")


@component
class Task:
    """about: for people. data: records; only: expression, those that count. prompt: template; description: template, stands before all.

    shots: examples before the prompt, each with its answer after `delimiter` and `between` at its end. They are drawn once for all
    items, by shots_seed (none: the first ones), from shots_from (none: from data; then an item is never its own example), of records for
    which shots_only holds. group: expression, such as a subject: examples are of the same one, and each is reported by itself.
    sections: name -> groups that are reported together; the mean of all sections is reported too.
    """

    about: str = ""
    data: str = ""
    only: str = ""
    description: str = ""
    prompt: str = ""
    delimiter: str = " "
    shots: int = Field(default=0, ge=0, le=64)
    shots_from: str = ""
    shots_only: str = ""
    shots_seed: int | None = None
    between: str = "\n\n"
    group: str = ""
    sections: dict[str, Section] = Field(default={})
    scoring: AnyScoring

    def __post_init__(self) -> None:
        if self.shots and isinstance(self.scoring, Alone):
            raise ValueError(f"shots is {self.shots}, but scoring {self.scoring.kind} has no examples before it; leave shots out")
        if self.sections and not self.group:
            raise ValueError('sections are of groups; say with group which one an item is of, for example group = "subset"')


@dataclass(frozen=True, slots=True)
class Item:
    """One record as it is asked. context: all of the prompt as one text; turns: the same as a conversation, where it is one."""

    number: int
    group: str
    fields: Mapping[str, Any]
    context: str
    turns: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class NamedTask:
    """A task with its name and where it was read from, which errors begin with."""

    name: str
    where: str
    task: Task

    @staticmethod
    def read(reference: str) -> "NamedTask":
        """The task behind a reference. Raises ConfigError: there is none, an option is wrong, data is missing."""
        name, _, data = reference.partition(":")
        shipped = shipped_tasks()
        path = shipped.get(name if name in shipped else reference, Path(reference))
        if not path.is_file():
            hint = did_you_mean(name, shipped) if "/" not in reference and path.suffix != ".toml" else ""
            raise ConfigError(f"there is no task '{reference}'{hint or '; it is the name of a shipped task or the path of a TOML file'}")
        is_shipped = name in shipped and path == shipped[name]
        where = f"task {name}" if is_shipped else str(path)
        options = read_toml(path)
        if is_shipped and data:
            options = merge(options, {"data": data})
        task = build(Task, _beside(options, path) if not is_shipped else options, where=where)
        if not task.data:
            how = (
                f"its data is in no package; name a file of it: tasks=[{name}:FILE]" if is_shipped else 'it has no data; add data = "FILE"'
            )
            raise ConfigError(f"{where}: {how}")
        return NamedTask(name if is_shipped else path.stem, where, task)

    def check(self) -> None:
        """Look at the head of the data, and ask the first records. Raises ConfigError or DataError; what is not here yet is not fetched."""
        scoring = self.task.scoring
        if isinstance(scoring, Answer):
            check_rules([scoring.rule])
        sources = [source for source in (self.task.data, self.task.shots_from) if source]
        for source in sources:
            if source not in assets.ASSETS and not source.startswith("pypi:"):
                check_head(source, "texts")
        if all(is_here(source) for source in sources):
            for item in islice(self._items(islice(self._chosen(self.task.data, self.task.only), _HEAD), self._examples()), _HEAD):
                self._look(item)
            self._check_sections()

    def items(self, limit: int | None = None) -> list[Item]:
        """All items in the order of the records, or the first so many. Raises DataError: none, or none of a section's group."""
        self._check_sections()
        found = list(islice(self._items(self._chosen(self.task.data, self.task.only), self._examples()), limit))
        if not found:
            raise DataError(f"{self.where}: no record of {self.task.data} counts{f' ({self.task.only})' if self.task.only else ''}")
        return found

    @property
    def needs_judge(self) -> bool:
        """Whether what the model says is graded by the run's judge."""
        return isinstance(self.task.scoring, Dialogue)

    def requests(self, item: Item) -> list[Request]:
        """What is asked of a likelihood; nothing where the model answers or judges."""
        scoring = self.task.scoring
        if isinstance(scoring, Answer | Preference | Dialogue):
            return []
        return scoring.requests(item.context, item.fields, self.task.delimiter, self.where)

    def _look(self, item: Item) -> None:
        """Raise DataError if an item cannot be asked or scored."""
        scoring = self.task.scoring
        if isinstance(scoring, Preference):
            scoring.answers(item.fields, self.where)
        elif isinstance(scoring, Dialogue):
            scoring.said_by_user(item.fields, self.where)
            scoring.warmth(item.fields, self.where)
        elif isinstance(scoring, Choices):
            scoring.right(item.fields, self.where)
        self.requests(item)

    def _check_sections(self) -> None:
        """Raise DataError for a group that no record is of; of a shipped task a part of its records may be asked."""
        named = {group: name for name, section in self.task.sections.items() for group in section.groups}
        if not named or not Path(self.where).is_file():
            return
        there = {self._group(fields) for fields in self._chosen(self.task.data, self.task.only)}
        if odd := next((group for group in named if group not in there), None):
            raise DataError(f"{self.where}: section '{named[odd]}' names group '{odd}', of which no record is{did_you_mean(odd, there)}")

    def _chosen(self, source: str, only: str) -> Iterator[Mapping[str, Any]]:
        return (fields for fields in read_fields(source) if not only or evaluate(only, fields, f"{self.where} only"))

    def _examples(self) -> dict[str, list[tuple[int, Mapping[str, Any]]]]:
        """Of each group what examples are taken from, in order, with the number of the item that each is (-1: of none)."""
        task, found = self.task, {}
        if not task.shots:
            return {}
        source = task.shots_from or task.data
        is_own = source == task.data and task.shots_only in ("", task.only)
        for number, fields in enumerate(self._chosen(source, task.shots_only or (task.only if is_own else ""))):
            found.setdefault(self._group(fields), []).append((number if is_own else -1, fields))
        return {group: self._drawn(group, examples) for group, examples in found.items()}

    def _drawn(self, group: str, examples: list[tuple[int, Mapping[str, Any]]]) -> list[tuple[int, Mapping[str, Any]]]:
        """One more than are needed, in case one of them is the item."""
        if self.task.shots_seed is not None:
            draw = generator(self.task.shots_seed, "shots", key(0, group))
            examples = [examples[place] for place in draw.permutation(len(examples))[: self.task.shots + 1]]
        return examples[: self.task.shots + 1]

    def _items(self, records: Iterator[Mapping[str, Any]], examples: Mapping[str, list[tuple[int, Mapping[str, Any]]]]) -> Iterator[Item]:
        task = self.task
        for number, fields in enumerate(records):
            group = self._group(fields)
            shots = [example for own, example in examples.get(group, []) if own != number][: task.shots]
            if len(shots) < task.shots:
                of = f" of group {group!r}" if group else ""
                raise DataError(f"{self.where}: shots is {task.shots}, but there are {len(shots)} examples{of}; lower shots")
            yield self._item(number, group, fields, shots)

    def _item(self, number: int, group: str, fields: Mapping[str, Any], shots: Sequence[Mapping[str, Any]]) -> Item:
        task = self.task
        description = render(task.description, fields, f"{self.where} description")
        asked = [render(task.prompt, each, f"{self.where} prompt") for each in (*shots, fields)]
        answers = [] if isinstance(task.scoring, Alone) else [task.scoring.shot(each, self.where) for each in shots]
        before = "".join(f"{question}{task.delimiter}{answer}{task.between}" for question, answer in zip(asked[:-1], answers, strict=True))
        context = description + before + asked[-1]
        turns: list[Message] = []
        if isinstance(task.scoring, Preference) or (isinstance(task.scoring, Answer) and task.scoring.is_chat):
            turns += [Message("system", description)] if description else []
            for question, answer in zip(asked[:-1], answers, strict=True):
                turns += [Message("user", question), Message("assistant", answer)]
            turns.append(Message("user", asked[-1]))
        fields = fields if task.scoring.kind != "text" else {**fields, "text": context}
        return Item(number, group, fields, context, tuple(turns))

    def _group(self, fields: Mapping[str, Any]) -> str:
        return str(evaluate(self.task.group, fields, f"{self.where} group")) if self.task.group else ""


def shipped_tasks() -> dict[str, Path]:
    """Name -> file of every task that comes with the package."""
    folder = Path(str(resources.files("trivium"))) / "evals" / "tasks"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def sources_of(reference: str) -> list[str]:
    """The files that a reference to a task names: its own, if it is no shipped one, and its data; none of a foreign task's but its own."""
    if reference.startswith(FOREIGN):
        return [text for text in (reference.removeprefix(FOREIGN),) if Path(text).is_file()]
    named = NamedTask.read(reference)
    own = [named.where] if Path(named.where).is_file() else []
    return [*own, *(source for source in (named.task.data, named.task.shots_from) if source)]


def is_here(source: str) -> bool:
    """Whether records can be read without fetching anything."""
    return not is_hub(source) and not source.startswith("pypi:") and (source not in assets.ASSETS or assets.is_fetched(source))


def _beside(options: dict[str, Any], path: Path) -> dict[str, Any]:
    """A relative path in a task's file is relative to the file, if it is there."""
    beside = {
        name: str(path.parent / options[name])
        for name in ("data", "shots_from")
        if isinstance(options.get(name), str) and options[name] and (path.parent / options[name]).exists()
    }
    return {**options, **beside}
