"""Rows to solutions whose steps were judged one by one: what a process reward model learns from.

data set           fields that tell it                       what a label is
ours, TRL          steps | completions (texts), labels       true, false, or from 0 (wrong) to 1 (right); null: nobody said
ours               steps, ratings                            1 right, 0 neutral, -1 wrong (PRM800K's scale)
ProcessBench       steps, label                              the index of the first wrong step, or -1; what follows it has no label
PRM800K            question.problem, label.steps             ratings; a completion that was not chosen is a solution that ends there
Math-Shepherd      input, label                              + or - in the place of each mark that ends a step
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trivium.core.types import Message, Solution
from trivium.text.records.questions import question
from trivium.text.records.ranks import is_number
from trivium.text.rows import Row, type_name

MARK = "ки"  # what Math-Shepherd writes behind a step (Wang et al. 2024, arXiv:2312.08935)
_RATINGS = (-1, 0, 1)


def is_solution(row: Row) -> bool:
    """Whether the row has an answer in steps with a judgement of each."""
    return next((True for has, _ in _SHAPES if has(row.values)), False)


def solutions(row: Row, neutral: float | None = 1.0) -> list[Solution]:
    """The solutions of a row. neutral: the label of a step that is neither right nor wrong."""
    read = next((read for has, read in _SHAPES if has(row.values)), None)
    if read is None:
        row.fail(f"has no 'steps' with 'labels' or 'ratings', one for each step (found: {', '.join(row.values) or 'nothing'})")
    return [each for each in read(row, neutral) if each.steps]


def _labelled(row: Row, neutral: float | None) -> list[Solution]:
    field = "steps" if "steps" in row.values else "completions"
    labels = _list(row, "labels")
    for index, label in enumerate(labels):
        if label is not None and not isinstance(label, bool) and not (is_number(label) and 0 <= label <= 1):
            hint = "; on the scale of -1, 0 and 1 they are called 'ratings'" if label == -1 else ""
            row.fail(f"'labels[{index}]' is {str(label)[:40]}; true, false, null or a number from 0 (wrong) to 1 (right) is expected{hint}")
    return [_solution(row, field, "labels", [None if label is None else float(label) for label in labels])]


def _rated(row: Row, neutral: float | None) -> list[Solution]:
    ratings = [_rating(row, rating, f"ratings[{index}]", neutral) for index, rating in enumerate(_list(row, "ratings"))]
    return [_solution(row, "steps", "ratings", ratings)]


def _until_the_first_error(row: Row, neutral: float | None) -> list[Solution]:
    """ProcessBench (Zheng et al. 2024, arXiv:2412.06559)."""
    wrong, count = row.values["label"], len(_list(row, "steps"))
    if type(wrong) is not int or not -1 <= wrong < count:
        row.fail(f"'label' is {str(wrong)[:40]}; the index of the first wrong step is expected, up to {count - 1}, or -1 if all are right")
    labels: list[float | None] = [1.0] * count if wrong < 0 else [*[1.0] * wrong, 0.0, *[None] * (count - wrong - 1)]
    return [_solution(row, "steps", "label", labels)]


def _solution(row: Row, field: str, judged: str, labels: Sequence[float | None]) -> Solution:
    steps = [_text(row, step, f"{field}[{index}]") for index, step in enumerate(_list(row, field))]
    if len(labels) != len(steps):
        row.fail(f"'{judged}' are {len(labels)}, but '{field}' are {len(steps)}; one is expected for each step")
    prompt, used = _asked(row)
    return Solution(prompt, tuple(steps), tuple(labels), row.rest(*used, field, judged))


def _prm800k(row: Row, neutral: float | None) -> list[Solution]:
    """The path that was chosen, and each other completion behind the path up to it, where it alone is judged (Lightman et al. 2023)."""
    problem = row.check_text(row.values["question"].get("problem"), "question.problem")
    prompt, path = (Message("user", problem),), list[tuple[str, float | None]]()
    found: list[Solution] = []
    for number, step in enumerate(row.values["label"]["steps"]):
        where = f"label.steps[{number}]"
        offered = step.get("completions") if isinstance(step, Mapping) else None
        if not isinstance(offered, list):
            row.fail(f"'{where}.completions' is {type_name(offered)}; a list of texts with ratings is expected")
        judged = [_completion(row, each, f"{where}.completions[{index}]", neutral) for index, each in enumerate(offered)]
        chosen = step.get("chosen_completion")
        if chosen is not None and (type(chosen) is not int or not 0 <= chosen < len(judged)):
            row.fail(f"'{where}.chosen_completion' is {str(chosen)[:40]}; an index of its {len(judged)} completions is expected")
        before = [text for text, _ in path]
        unjudged = [None] * len(path)
        found += [
            Solution(prompt, (*before, text), (*unjudged, label))
            for index, (text, label) in enumerate(judged)
            if index != chosen and label is not None
        ]
        written = step.get("human_completion")
        if chosen is not None:
            path.append(judged[chosen])
        elif isinstance(written, Mapping):
            path.append((_text(row, written.get("text"), f"{where}.human_completion.text"), None))
        else:
            break
    return [Solution(prompt, tuple(text for text, _ in path), tuple(label for _, label in path)), *found]


def _completion(row: Row, value: Any, where: str, neutral: float | None) -> tuple[str, float | None]:
    if not isinstance(value, Mapping):
        row.fail(f"'{where}' is {type_name(value)}; an object with text and rating is expected")
    return _text(row, value.get("text"), f"{where}.text"), _rating(row, value.get("rating"), f"{where}.rating", neutral)


def _shepherd(row: Row, neutral: float | None) -> list[Solution]:
    """The question ends where "Step 1:" begins."""
    text, judged = row.text("input"), row.text("label")
    pieces = text.split(MARK)
    marks, at = [], 0
    for piece in pieces[:-1]:
        at += len(piece)
        marks.append(judged[at : at + 1])
        at += 1
    begin = re.search(r"\bStep 1:", pieces[0])
    if begin is None or not marks or any(mark not in ("+", "-") for mark in marks):
        row.fail(f"'input' has a question, then 'Step 1:', and {MARK!r} behind each step, where 'label' has + or -")
    steps = [pieces[0][begin.start() :], *pieces[1:-1]]
    prompt = (Message("user", pieces[0][: begin.start()].strip()),)
    labels = tuple(float(mark == "+") for mark in marks)
    return [Solution(prompt, tuple(step.strip() for step in steps), labels, row.rest("input", "label"))]


def _asked(row: Row) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    return ((Message("user", row.text("problem")),), ("problem",)) if "problem" in row.values else question(row)


def _text(row: Row, value: Any, name: str) -> str:
    if not row.check_text(value, name).strip():
        row.fail(f"'{name}' is blank; a step is a text")
    return str(value)


def _rating(row: Row, value: Any, name: str, neutral: float | None) -> float | None:
    if value is not None and (isinstance(value, bool) or value not in _RATINGS):
        row.fail(f"'{name}' is {str(value)[:40]}; 1 (right), 0 (neutral), -1 (wrong) or null is expected")
    return None if value is None else {1: 1.0, 0: neutral, -1: 0.0}[int(value)]


def _list(row: Row, field: str) -> list[Any]:
    return row.filled(field, "a list with an entry for each step")


def _is_prm800k(values: Mapping[str, Any]) -> bool:
    asked, judged = values.get("question"), values.get("label")
    return isinstance(asked, Mapping) and isinstance(judged, Mapping) and isinstance(judged.get("steps"), list)


_SHAPES: tuple[tuple[Callable[[Mapping[str, Any]], bool], Callable[[Row, float | None], list[Solution]]], ...] = (
    (lambda values: "labels" in values and ("steps" in values or "completions" in values), _labelled),
    (lambda values: {"steps", "ratings"} <= values.keys(), _rated),
    (lambda values: {"steps", "label"} <= values.keys(), _until_the_first_error),
    (_is_prm800k, _prm800k),
    (lambda values: {"input", "label"} <= values.keys() and MARK in str(values["input"]), _shepherd),
)
