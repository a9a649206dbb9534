"""The tasks of `evaluate`: every model on every task, piece by piece on disk, then what they say of one another and of the corpus."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trivium.core.commit import commit_file
from trivium.core.config import plain
from trivium.core.errors import DataError
from trivium.core.run import CHECKPOINTS, Run
from trivium.core.seeds import generator
from trivium.core.types import Document, Message
from trivium.evals.contamination import contamination
from trivium.evals.dialogue import compared_rows, graded_rows, led_rows
from trivium.evals.harness import Judge, Row, in_order, judged_rows, rows_of, shown
from trivium.evals.measures import by_group, difference, measured, measures_in
from trivium.evals.scoring import Answer, Preference
from trivium.evals.sections import sections_of
from trivium.evals.subject import Subject
from trivium.evals.task import FOREIGN, Item, NamedTask, foreign_name
from trivium.score.rewards import RewardRule
from trivium.score.rewards.llm_judge import OpenJudge
from trivium.stages.base import resolve
from trivium.stages.computing.answering import READ_ROWS
from trivium.stages.computing.choosing import rules_of
from trivium.stages.computing.models import Speaker, engine_of
from trivium.stages.computing.subjects import subject_of
from trivium.stages.pieces import Pieces
from trivium.stages.use.person import Person
from trivium.text.read import read_documents

KIND, ITEMS, FOUND = "scored items", "items", "tasks.json"
MOST_GROUPS = 100  # that results.json has rows of

Ask = Callable[[Sequence[Item]], list[Row]]


@dataclass(slots=True)
class Asked:
    """A task with its items, what the report says of it, and the rows of every model so far. named: None of a task that lm-eval asks."""

    name: str
    facts: dict[str, Any]
    named: NamedTask | None = None
    items: list[Item] = field(default_factory=list)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    foreign: str = ""


@dataclass(frozen=True, slots=True)
class Tasks:
    """How the tasks of a run are asked. judge: of dialogues. limit: items of each. rows: answers that are decoded together."""

    run: Run
    judge: OpenJudge | Person | None
    limit: int | None
    rows: int

    def __call__(self, models: Mapping[str, str], references: Sequence[str], corpus: Sequence[str]) -> list[dict[str, Any]]:
        """Rows of results.json; leaves `items/MODEL/TASK.jsonl` and tasks.json in the stage's folder. What is there is not asked again."""
        tasks = [self._asked(reference) for reference in references]
        hit = self._contamination(tasks, corpus)
        for model, path in models.items():
            judging = [task for task in tasks if task.named is not None and isinstance(task.named.task.scoring, Preference)]
            self._judge_all(judging, model, path)
            self._ask_all([task for task in tasks if task not in judging], model, path)
        self._ask_person(tasks)
        for model in models:
            for task in tasks:
                (folder := self.run.folder / ITEMS / model).mkdir(parents=True, exist_ok=True)
                commit_file(folder / f"{task.name}.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in task.rows[model]))
        table = [row for task in tasks for model in models for row in _results(task, model, hit.get(task.name))]
        table += [row for task in tasks for row in self._duels(task)]
        differences = _differences(tasks, list(models), self.run.seed)
        found = {"tasks": {task.name: task.facts for task in tasks}, "differences": differences}
        commit_file(self.run.folder / FOUND, json.dumps(found, indent=1))
        return table

    def _asked(self, reference: str) -> Asked:
        if reference.startswith(FOREIGN):
            name = reference.removeprefix(FOREIGN)
            return Asked(foreign_name(reference), {"about": f"{name}, asked by lm-eval"}, foreign=name)
        named = NamedTask.read(reference)
        items = named.items(self.limit)
        there = {item.group for item in items}
        absent = [group for section in named.task.sections.values() for group in section.groups if group not in there]
        if absent:
            self.run.log(f"{named.name}: its sections are without {', '.join(absent)}, of which there is no item")
        return Asked(named.name, {**plain(named.task), "items": len(items)}, named, items)

    def _ask_all(self, tasks: Sequence[Asked], model: str, path: str) -> None:
        """The tasks of a language model."""
        if not tasks:
            return
        speaker = Speaker.of(self.run, path)
        subject = subject_of(speaker, engine_of(self.run, speaker, rows=self.rows))
        for task in tasks:
            if task.named is None:
                task.rows[model] = self._foreign_rows(subject, task, model)
                continue
            self._tell(task, model, shown(subject, task.named, task.items[0]))
            task.rows[model] = self._rows(task, model, self._asks(subject, task, task.named))
        if subject.num_cut:
            self.run.log(f"{model}: {subject.num_cut:,} prompts or texts are longer than it reads, and lost their beginning")

    def _asks(self, subject: Subject, task: Asked, named: NamedTask) -> Ask:
        """What makes the rows of items."""
        seed, judge = self.run.seed, self.judge
        if named.needs_judge:
            assert judge is not None
            if isinstance(judge, Person):
                return lambda items: led_rows(subject, named, items, seed=seed)
            return lambda items: graded_rows(named, items, led_rows(subject, named, items, seed=seed), judge)
        rule = self._rule(task, named)
        return lambda items: rows_of(subject, named, items, rule, seed=seed)

    def _rule(self, task: Asked, named: NamedTask) -> RewardRule | None:
        scoring = named.task.scoring
        if not isinstance(scoring, Answer):
            return None
        [rule] = rules_of(self.run, [scoring.rule], [item.fields for item in task.items])
        return rule

    def _judge_all(self, tasks: Sequence[Asked], model: str, path: str) -> None:
        """The tasks of a reward model."""
        if not tasks:
            return
        speaker = Speaker.judge_of(self.run, path)
        score = _judge_of(speaker, model)
        for task in tasks:
            assert task.named is not None
            named = task.named
            self._tell(task, model, speaker.tokenizer.decode(speaker.prompt(task.items[0].turns), skip_special=False))
            task.rows[model] = self._rows(task, model, lambda items, named=named: judged_rows(score, named, items))

    def _ask_person(self, tasks: Sequence[Asked]) -> None:
        """Let a person grade the dialogues of all models: item by item in an order that the seed draws, so that no model can be told."""
        if not isinstance(self.judge, Person):
            return
        for task in tasks:
            if task.named is None or not task.named.needs_judge:
                continue
            draw, models = generator(self.run.seed, f"a person's items of {task.name}"), list(task.rows)
            order = [(place, model) for place in draw.permutation(len(task.items)) for model in draw.permutation(models).tolist()]
            for number, (place, model) in enumerate(order, start=1):
                self.judge.head = f"{task.name}: {number:,} of {len(order):,}"
                rows = task.rows[model]
                [rows[place]] = graded_rows(task.named, [task.items[place]], [rows[place]], self.judge)

    def _duels(self, task: Asked) -> Iterator[dict[str, Any]]:
        """Of a dialogue how often the judge finds each other model's answers better than the first one's."""
        named, judge = task.named, self.judge
        if named is None or judge is None or not named.needs_judge:
            return
        first, *others = task.rows
        for model in others:
            mine, other = ({row["item"]: row for row in task.rows[name]} for name in (model, first))

            def compare(items: Sequence[Item], mine: Mapping[int, Row] = mine, other: Mapping[int, Row] = other) -> list[Row]:
                a, b = ([side[item.number] for item in items] for side in (mine, other))
                return compared_rows(named, items, a, b, judge)

            rows = compare(task.items) if isinstance(judge, Person) else self._rows(task, f"{model}-and-{first}", compare)
            yield {"stage": model, "measure": f"{task.name}: win_rate over {first}", **measured(rows, "win_rate")}

    def _tell(self, task: Asked, model: str, prompt: str) -> None:
        """Print the whole prompt of item 1, once a task."""
        if "shown" not in task.facts:
            task.facts["shown"] = prompt
            self.run.log(f"{task.name}: item 1 as {model} reads it:\n{prompt}")

    def _rows(self, task: Asked, model: str, ask: Ask) -> list[Row]:
        """A task's rows in the order of its items, from the first piece that is not there yet."""
        pieces = Pieces(self.run.folder / CHECKPOINTS / model / task.name, KIND)
        rows: list[Row] = []
        with self.run.progress(len(task.items), f"{model} {task.name}") as progress:
            for number, items in enumerate(in_order(task.items)):
                if pieces.has(self.run, number):
                    progress.start_at(len(rows) + len(items))
                else:
                    pieces.write(number, ask(items))
                rows += pieces.rows(number)
                progress.update(len(rows))
        return sorted(rows, key=lambda row: row["item"])

    def _foreign_rows(self, subject: Subject, task: Asked, model: str) -> list[Row]:
        """The rows of a task that lm-eval asks, all in one piece."""
        from trivium.evals.lm_eval import rows_of_task

        pieces = Pieces(self.run.folder / CHECKPOINTS / model / task.name, KIND)
        if not pieces.has(self.run, 0):
            pieces.write(0, rows_of_task(subject, task.foreign, limit=self.limit))
        rows = list(pieces.rows(0))
        task.facts["items"] = len(rows)
        return rows

    def _contamination(self, tasks: Sequence[Asked], corpus: Sequence[str]) -> dict[str, set[int]]:
        """The items of each task that are in the corpus, told in the task's facts."""
        own = {task.name: task.items for task in tasks if task.items}
        if not corpus or not own:
            return {}

        def documents() -> Iterator[Document]:
            for source in corpus:
                yield from read_documents(resolve(self.run, source))

        facts, numbers = contamination(own, documents())
        for task in tasks:
            if task.name in facts:
                task.facts["contamination"] = facts[task.name]
                self.run.log(
                    f"{task.name}: {len(numbers[task.name]):,} of {len(task.items):,} items are in the corpus"
                    f" ({facts[task.name]['too_short']:,} are too short to be recognised)"
                )
        return numbers


def _judge_of(speaker: Speaker, model: str) -> Judge:
    """A reward model's scores of answers to prompts. Raises DataError for one that is longer than it reads."""
    most = speaker.model.config.max_seq_len

    def score(asked: Sequence[tuple[tuple[Message, ...], str]]) -> Sequence[float]:
        answers = [speaker.answer(turns, text) for turns, text in asked]
        longest = max(len(answer.tokens) for answer in answers)
        if longest > most:
            raise DataError(
                f"{model} reads {most:,} tokens, but a prompt with its answer has {longest:,}; leave such records out with 'only'"
            )
        return speaker.scores(answers, rows=READ_ROWS, length=longest).tolist()

    return score


def _results(task: Asked, model: str, hit: set[int] | None) -> Iterator[dict[str, Any]]:
    """The measures of one model at one task; of the items that are not in the corpus too, where some are; of each group and section the
    first one.
    """
    rows, groups = task.rows[model], by_group(task.rows[model])
    measures = measures_in(rows)
    parts = [("", rows, measures)]
    if 1 < len(groups) <= MOST_GROUPS:
        parts += [(f" of {group}", some, measures[:1]) for group, some in groups.items()]
    if hit and (clean := [row for row in rows if row["item"] not in hit]):
        parts.append((" of items not in the corpus", clean, measures))
    for of, some, names in parts:
        for measure in names:
            yield {"stage": model, "measure": f"{task.name}: {measure}{of}", **measured(some, measure)}
    sections = task.named.task.sections if task.named is not None else {}
    for name, weighted in sections_of(groups, sections, measures[0]).items():
        yield {"stage": model, "measure": f"{task.name}: {measures[0]} of {name}", **measured(weighted, measures[0])}


def _differences(tasks: Sequence[Asked], models: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """Every other model minus the first one, at each measure of each task."""
    first, *others = models
    return [
        {"task": task.name, "measure": measure, "model": other, "than": first}
        | difference(task.rows[other], task.rows[first], measure, seed)
        for task in tasks
        for other in others
        for measure in measures_in(task.rows[first])
    ]
