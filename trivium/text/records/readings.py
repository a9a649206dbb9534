"""Readings: a text with questions that are answered from it, as sets of reading comprehension spell them.

    set                        fields
    our own                    context, pairs: [{question, answer}]
    SQuAD, as published        paragraphs: [{context, qas: [{question, answers: [{text}]}]}], also below `data`
    SQuAD of the hub, NQ-like  a text, question, answers: {text: [...]} | [...] or answer
    BoolQ                      passage, question, answer: true or false
    RACE and others            a text, question, choices or options with the right one (choices.py)
    CoQA                       story, questions: [...], answers: {input_text: [...]} or [...]

The text is in context, passage, article, story, paragraph or document. A question without an answer (SQuAD 2) is left out; of several
right answers the first is taken. Neighbours with the same text are one reading (`gathered`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from trivium.text.records import choices
from trivium.text.records.ranks import is_number
from trivium.text.rows import Row, type_name

TEXTS = ("context", "passage", "article", "story", "paragraph", "document")
_WANTED = "'context' (or passage, article, story, paragraph, document)"


@dataclass(frozen=True, slots=True)
class Pair:
    """An instruction and the response to it, without outer white space."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A text and the pairs that belong to it; `source` names the set it is from."""

    context: str
    pairs: tuple[Pair, ...]
    source: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


def readings(row: Row) -> list[Reading]:
    """The readings of a row: one, or one a paragraph. A row whose questions have no answers gives readings without pairs."""
    if "data" in row.values or "paragraphs" in row.values:
        return list(_published(row, row.values.get("data", [row.values])))
    name = next((name for name in TEXTS if name in row.values), None) or row.missing(_WANTED)
    context, used = row.text(name), [name, "source", "id"]
    if "pairs" in row.values:
        found = [_pair(row, item, f"pairs[{index}]") for index, item in enumerate(_list(row, row.values["pairs"], "pairs"))]
        used.append("pairs")
    elif "questions" in row.values:
        found = _several(row)
    else:
        found = [_asked(row)]
    return [_reading(row, context, found, row.rest(*used))]


def gathered(found: Iterable[Reading]) -> Iterator[Reading]:
    """Readings of one text and source that follow each other as one, with every question once. Constant memory."""
    for (context, source), group in groupby(found, key=lambda reading: (reading.context, reading.source)):
        members, pairs = list(group), dict[str, Pair]()
        for pair in (pair for member in members for pair in member.pairs):
            pairs.setdefault(pair.question.casefold(), pair)
        yield replace(members[0], context=context, source=source, pairs=tuple(pairs.values()))


def _reading(row: Row, context: str, found: Iterable[tuple[str, str]], meta: Mapping[str, Any]) -> Reading:
    if not context.strip():
        row.fail("its text is empty")
    pairs = (Pair(question.strip(), answer.strip()) for question, answer in found)
    source = row.values.get("source")
    name = {"id": str(row.values["id"])} if "id" in row.values else {}
    kept = tuple(pair for pair in pairs if pair.question and pair.answer)
    return Reading(context, kept, str(row.path) if source is None else row.check_text(str(source), "source"), {**meta, **name})


def _published(row: Row, articles: Any) -> Iterator[Reading]:
    for number, article in enumerate(_list(row, articles, "data")):
        paragraphs = article.get("paragraphs") if isinstance(article, Mapping) else None
        for place, paragraph in enumerate(_list(row, paragraphs, f"data[{number}].paragraphs")):
            where = f"data[{number}].paragraphs[{place}]"
            if not isinstance(paragraph, Mapping) or "context" not in paragraph:
                row.fail(f"'{where}' is {type_name(paragraph)} without a context")
            asked = _list(row, paragraph.get("qas"), f"{where}.qas")
            pairs = [_pair(row, item, f"{where}.qas[{index}]") for index, item in enumerate(asked)]
            yield _reading(row, row.check_text(paragraph["context"], f"{where}.context"), pairs, {})


def _pair(row: Row, item: Any, where: str) -> tuple[str, str]:
    if not isinstance(item, Mapping) or "question" not in item or not ({"answer", "answers"} & item.keys()):
        row.fail(f"'{where}' is {type_name(item)} without question or answer")
    name = "answer" if "answer" in item else "answers"
    return row.check_text(item["question"], f"{where}.question"), _one(row, item[name], f"{where}.{name}")


def _several(row: Row) -> list[tuple[str, str]]:
    """Questions and answers in lists of one length."""
    stated = row.values.get("answers")
    given = _list(row, stated.get("input_text") if isinstance(stated, Mapping) else stated, "answers")
    asked = _list(row, row.values["questions"], "questions")
    if len(asked) != len(given):
        row.fail(f"has {len(asked)} questions and {len(given)} answers")
    return [
        (row.check_text(question, f"questions[{index}]"), _one(row, answer, f"answers[{index}]"))
        for index, (question, answer) in enumerate(zip(asked, given, strict=True))
    ]


def _asked(row: Row) -> tuple[str, str]:
    """The one question of a row and its answer; choices stand below the question, and the answer is the line of the right one."""
    question = row.text("question")
    listed = row if "options" not in row.values else replace(row, values={**row.values, "choices": row.values["options"]})
    if choices.has_choices(listed):
        return choices.shown(listed, question), choices.right(listed)
    name = next((name for name in ("answer", "answers", "label") if name in row.values), None) or row.missing("'answer' or 'answers'")
    return question, _one(row, row.values[name], name)


def _one(row: Row, value: Any, where: str) -> str:
    """An answer as text, the first of several; empty if there is none. BoolQ's true and false (arXiv:1905.10044) are yes and no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if is_number(value):
        return str(value)
    if isinstance(value, Mapping):
        return _one(row, value.get("text"), f"{where}.text")
    if isinstance(value, list):
        return _one(row, value[0], f"{where}[0]") if value else ""
    return row.check_text(value, where)


def _list(row: Row, value: Any, where: str) -> Sequence[Any]:
    return value if isinstance(value, list) else row.fail(f"'{where}' is {type_name(value)}; a list is expected")
