"""The tasks of `evaluate`: every model on every task, piece by piece on disk, then what they say of one another and of the corpus."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trivium.core.commit import commit, commit_file
from trivium.core.progress import Progress
from trivium.core.run import CHECKPOINTS, Run
from trivium.core.types import Document
from trivium.evals.contamination import contamination
from trivium.evals.harness import Row, in_order, rows_of, shown
from trivium.evals.measures import by_group, difference, measured, measures_in
from trivium.evals.scoring import Answer
from trivium.evals.subject import Subject
from trivium.evals.task import FOREIGN, Item, NamedTask, facts_of
from trivium.score.rewards import RewardRule
from trivium.score.rewards.opened import opened
from trivium.stages.answering import is_there, piece
from trivium.stages.base import resolve
from trivium.stages.models import Speaker, engine_of, machine_of
from trivium.stages.subjects import subject_of
from trivium.text.read import read_documents
from trivium.text.write import write_jsonl

KIND, FILE, ITEMS, FOUND = "scored items", "items.jsonl", "items", "tasks.json"
MOST_GROUPS = 100  # that results.json has rows of; all of them are in tasks.json


@dataclass(slots=True)
class Asked:
    """A task with its items, and the rows of every model so far."""

    name: str
    facts: dict[str, Any]
    items: list[Item]
    rows: dict[str, list[Row]]
    named: NamedTask | None = None  # None of a task that lm-eval asks
    foreign: str = ""


def run_tasks(
    run: Run, models: Mapping[str, str], references: Sequence[str], *, limit: int | None, corpus: Sequence[str], rows: int
) -> list[dict[str, Any]]:
    """Rows of results.json; leaves `items/MODEL/TASK.jsonl` and tasks.json in the stage's folder. What is there is not asked again."""
    tasks = [_asked(reference, limit) for reference in references]
    hit = _contamination(run, tasks, corpus)
    for model, path in models.items():
        speaker = Speaker.load(resolve(run, path), machine_of(run))
        subject = subject_of(speaker, engine_of(run, speaker, rows=rows))
        for task in tasks:
            task.rows[model] = _foreign_rows(run, subject, task, model, limit) if task.named is None else _rows(run, subject, task, model)
            write = run.folder / ITEMS / model
            write.mkdir(parents=True, exist_ok=True)
            commit_file(write / f"{task.name}.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in task.rows[model]))
        if subject.num_cut:
            run.log(f"{model}: {subject.num_cut:,} prompts or texts are longer than it reads, and lost their beginning")
    table = [row for task in tasks for model in models for row in _results(task, model, hit.get(task.name))]
    found = {task.name: task.facts for task in tasks}
    commit_file(run.folder / FOUND, json.dumps({"tasks": found, "differences": _differences(tasks, list(models), run.seed)}, indent=1))
    return table


def _asked(reference: str, limit: int | None) -> Asked:
    if reference.startswith(FOREIGN):
        name = reference.removeprefix(FOREIGN)
        return Asked(Path(name).stem, {"about": f"{name}, asked by lm-eval"}, [], {}, foreign=name)
    named = NamedTask.read(reference)
    items = named.items(limit)
    return Asked(named.name, {**facts_of(named), "items": len(items)}, items, {}, named)


def _rows(run: Run, subject: Subject, task: Asked, model: str) -> list[Row]:
    """A task's rows in the order of its items, from the first piece that is not there yet."""
    assert task.named is not None
    if "shown" not in task.facts:
        task.facts["shown"] = shown(subject, task.named, task.items[0])
        run.log(f"{task.name}: item 1 as {model} reads it:\n{task.facts['shown']}")
    rule, folder = _rule(run, task), run.folder / CHECKPOINTS / model / task.name
    rows: list[Row] = []
    with Progress(f"{model} {task.name}", len(task.items)) as progress:
        for number, items in enumerate(in_order(task.items)):
            place = piece(folder, number)
            if is_there(run, place, KIND):
                progress.start_at(len(rows) + len(items))
            else:
                _write(place, rows_of(subject, task.named, items, rule, seed=run.seed))
            rows += _read(place)
            progress.update(len(rows))
    return sorted(rows, key=lambda row: row["item"])


def _foreign_rows(run: Run, subject: Subject, task: Asked, model: str, limit: int | None) -> list[Row]:
    """The rows of a task that lm-eval asks, all in one piece."""
    from trivium.evals.lm_eval import rows_of_task

    place = piece(run.folder / CHECKPOINTS / model / task.name, 0)
    if not is_there(run, place, KIND):
        _write(place, rows_of_task(subject, task.foreign, limit=limit))
    rows = list(_read(place))
    task.facts["items"] = len(rows)
    return rows


def _rule(run: Run, task: Asked) -> RewardRule | None:
    scoring = task.named.task.scoring if task.named else None
    if not isinstance(scoring, Answer):
        return None
    records = [item.fields for item in task.items]
    [rule] = opened([scoring.rule], records, seed=run.seed, plugins=run.plugins, say=run.log_once)
    return rule


def _write(place: Path, rows: Sequence[Row]) -> None:
    def write(folder: Path) -> None:
        write_jsonl(folder / FILE, rows)

    commit(place, write, kind=KIND)


def _read(place: Path) -> Iterator[Row]:
    with (place / FILE).open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _results(task: Asked, model: str, hit: set[int] | None) -> list[dict[str, Any]]:
    """The measures of one model at one task; of the items that are not in the corpus too, where some are."""
    rows = task.rows[model]
    parts = {"": rows}
    groups = by_group(rows)
    if 1 < len(groups) <= MOST_GROUPS:
        parts |= {f" of {group}": some for group, some in groups.items()}
    clean = [row for row in rows if row["item"] not in hit] if hit else []
    if clean:
        parts[" of items not in the corpus"] = clean
    first = measures_in(rows)[:1]  # of groups only the main measure, or the table would have no end
    return [
        {"stage": model, "measure": f"{task.name}: {measure}{of}", **measured(some, measure)}
        for of, some in parts.items()
        for measure in (first if " of " in of and "corpus" not in of else measures_in(rows))
    ]


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


def _contamination(run: Run, tasks: Sequence[Asked], corpus: Sequence[str]) -> dict[str, set[int]]:
    """The items of each task that are in the corpus, told in the task's facts."""
    own = {task.name: task.items for task in tasks if task.items}
    if not corpus or not own:
        return {}

    def documents() -> Iterator[Document]:
        for source in corpus:
            yield from read_documents(resolve(run, source))

    facts, numbers = contamination(own, documents())
    for task in tasks:
        if task.name in facts:
            task.facts["contamination"] = facts[task.name]
            run.log(
                f"{task.name}: {len(numbers[task.name]):,} of {len(task.items):,} items are in the corpus"
                f" ({facts[task.name]['too_short']:,} are too short to be recognised)"
            )
    return numbers
