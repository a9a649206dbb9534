"""Self-Instruct: a model that is shown tasks writes more of them, and those that are new and can be done by text are kept.

Wang et al. 2022, arXiv:2212.10560, in the form of Alpaca (Taori et al. 2023): instruction, input and output of several tasks in one
completion. The filters are those of Alpaca's generator. Differences: prompt and shown tasks are ours (self_instruct.toml).
"""

import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from trivium.core.config import read_toml
from trivium.synth.rouge import at_most, rouge_l, rouge_words
from trivium.text.records.questions import with_input
from trivium.text.rows import Row, rows

MIN_WORDS, MAX_WORDS, MAX_ROUGE = 4, 150, 0.7
NUM_ASKED = 20  # tasks that a list is said to have
MALFORMED = "is not in the form that was shown"
_BETWEEN, _NO_INPUT = "###", "<noinput>"


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done, with what, and how it is done."""

    instruction: str
    input: str = ""
    output: str = ""

    @property
    def asked(self) -> str:
        """Instruction and input as a user puts them."""
        return with_input(self.instruction, self.input)

    @property
    def messages(self) -> list[dict[str, str]]:
        """The task as a conversation."""
        return [{"role": "user", "content": self.asked}, {"role": "assistant", "content": self.output}]


def shown_tasks() -> list[Task]:
    """The tasks that are shipped."""
    return [Task(**task) for task in _words()["tasks"]]


def read_tasks(source: str | Path) -> list[Task]:
    """Tasks of a file: instruction, input and output, or Self-Instruct's own with `instances`, of which the first is taken."""
    return [_task(row) for row in rows(Path(source))]


def _task(row: Row) -> Task:
    values = row.values
    instances = values.get("instances")
    if isinstance(instances, list) and instances and isinstance(instances[0], dict):
        values = {**instances[0], "instruction": values.get("instruction")}
    found = {name: row.check_text(values.get(name, ""), name) for name in ("instruction", "input", "output")}
    return Task(**found) if found["instruction"] and found["output"] else row.fail("a task has an instruction and an output")


def request(examples: Sequence[Task]) -> tuple[str, str]:
    """What is asked with these examples, and how the answer begins: with the number after theirs."""
    text = str(_words()["prompt"]).lstrip().format(count=NUM_ASKED)
    for number, task in enumerate(examples, start=1):
        instruction = " ".join(task.instruction.split()).rstrip(":")
        parts = (
            f"{number}. Instruction: {instruction}",
            f"{number}. Input:\n{task.input or _NO_INPUT}",
            f"{number}. Output:\n{task.output}",
        )
        text += "\n".join((_BETWEEN, *parts, ""))
    return text + _BETWEEN + "\n", f"{len(examples) + 1}. Instruction:"


def parse(text: str, first: int, *, is_whole: bool) -> Iterator[Task | str]:
    """The tasks of a list whose first has this number; of each that is not in the form its text. A last one that was cut off goes."""
    parts = text.split(_BETWEEN)
    for number, part in enumerate(parts if is_whole else parts[:-1], start=first):
        if not part.strip():
            continue
        pieces = re.split(rf"(?:^|(?<=\s)){number}\.\s+(Instruction|Input|Output):", part)
        if pieces[1::2] != ["Instruction", "Input", "Output"] or not pieces[2].strip() or not pieces[6].strip():
            yield part.strip()
            continue
        stated = pieces[4].strip()
        yield Task(pieces[2].strip(), "" if stated.lower() == _NO_INPUT else stated, pieces[6].strip())


def why_unfit(instruction: str) -> str | None:
    """Why a language model cannot be asked this, or should not; None if it can."""
    words, lists = instruction.split(), _words()
    if len(words) < MIN_WORDS:
        return "is too short"
    if len(words) > MAX_WORDS:
        return "is too long"
    if found := _blocked().search(instruction):
        return f"has the word {found[0].lower()}"
    if instruction.startswith(tuple(lists["beginnings"])):
        return "begins as too many others"
    if instruction[0] in string.punctuation:
        return "begins with punctuation"
    return None if instruction[0].isascii() else "does not begin with a letter of English"


@dataclass(slots=True)
class Pool:
    """The instructions so far; memory grows with them. A new one may share at most ROUGE-L 0.7 with any."""

    words: list[list[str]] = field(default_factory=list)

    def takes(self, instruction: str) -> bool:
        """Add an instruction, unless it is like one that is there. Cost: the pool times its words."""
        new = rouge_words(instruction)
        for old in self.words:
            if at_most(len(old), len(new)) > MAX_ROUGE and rouge_l(old, new) > MAX_ROUGE:
                return False
        self.words.append(new)
        return True


@cache
def _words() -> dict[str, Any]:
    return read_toml(Path(__file__).with_suffix(".toml"))


@cache
def _blocked() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, _words()['blocked']))})\b", re.IGNORECASE)
