"""Questions with choices: how they are shown, and which choice is right.

The choices stand below the question, one a line with its letter, as in MMLU (Hendrycks et al. 2021, arXiv:2009.03300); the answer is the
line of the right one:

    What do people use to absorb extra ink from a fountain pen?

    A. shirt pocket
    B. blotter

    B. blotter

Difference: no "Answer:" ends the question, since the turn of the assistant does. A row with a `prompt` has its own layout, and no choices
are added to it. The fields with choices and gold stay in `meta`.
"""

from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from trivium.text.rows import Row, type_name

_BBQ = ("ans0", "ans1", "ans2")  # Parrish et al. 2022, arXiv:2110.08193
_GOLD = ("gold", "answerKey", "label", "answer")


def has_choices(row: Row) -> bool:
    """Whether the row lists choices: `choices` with texts (MMLU, OLMo) or {text, label} (ARC, CommonsenseQA), or BBQ's ans0 to ans2."""
    return "choices" in row.values or all(field in row.values for field in _BBQ)


def shown(row: Row, question: str) -> str:
    """The question above its lettered choices."""
    return "\n".join([question, "", *_lines(row)])


def right(row: Row) -> str:
    """The line of the right choice. Raises DataError where the row does not say which it is, as those of hidden test sets do not.

    It is said in `gold`, `answerKey`, `label` or `answer`: the place among the choices from 0 on, or the label of one of them.
    """
    field = next((field for field in _GOLD if field in row.values), None) or row.missing("'gold' or 'answerKey'")
    gold, lines, labels = row.values[field], _lines(row), _labels(row)
    if type(gold) is int and str(gold) in labels and labels.index(str(gold)) != gold:
        row.fail(f"'{field}' is {gold}, a place or one of the labels {', '.join(labels)}; write a label as text")
    if isinstance(gold, str) and gold in labels:
        return lines[labels.index(gold)]
    if type(gold) is not int or not 0 <= gold < len(lines):
        row.fail(f"'{field}' is {gold!r}; it is the place of the right choice, 0 to {len(lines) - 1}, or one of: {', '.join(labels)}")
    return lines[gold]


def _lines(row: Row) -> list[str]:
    texts = _texts(row)
    if not 2 <= len(texts) <= len(ascii_uppercase):
        row.fail(f"has {len(texts)} choices; 2 to {len(ascii_uppercase)} can be lettered")
    return [f"{letter}. {text}" for letter, text in zip(ascii_uppercase, texts, strict=False)]


def _texts(row: Row) -> list[str]:
    if "choices" not in row.values:
        return [row.text(field) for field in _BBQ]
    texts = _listed(row, "text")
    return [row.check_text(text, f"choices[{index}]") for index, text in enumerate(texts)]


def _labels(row: Row) -> list[str]:
    """What the row itself calls its choices; our letters, where it has no names."""
    stated = row.values.get("choices")
    if not isinstance(stated, dict):
        return list(ascii_uppercase[: len(_texts(row))])
    labels = [row.check_text(label, f"choices.label[{index}]") for index, label in enumerate(_listed(row, "label"))]
    return labels if len(set(labels)) == len(labels) else row.fail(f"'choices' has a label twice: {', '.join(labels)}")


def _listed(row: Row, part: str) -> Sequence[Any]:
    """`choices`, or this part of it where it is an object of two lists of one length."""
    stated = row.values["choices"]
    if isinstance(stated, list):
        return stated
    if not isinstance(stated, dict) or not all(isinstance(stated.get(name), list) for name in ("text", "label")):
        row.fail(f"'choices' is {type_name(stated)}; a list of texts, or an object with the lists text and label is expected")
    if len(stated["text"]) != len(stated["label"]):
        row.fail(f"'choices' has {len(stated['text'])} texts and {len(stated['label'])} labels")
    return stated[part]
