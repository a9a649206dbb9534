"""Masculine pronouns made feminine, word by word: the text of a counterfactual in which nothing else is different.

Biderman et al. 2023, arXiv:2304.01373, section 4.1. Left out: nouns and names, and the other direction, in which "her" may be "him" or
"his".
"""

import re
from dataclasses import dataclass

_FEMININE = {"he": "she", "him": "her", "his": "her", "himself": "herself"}
# "his" before a word it belongs to is "her"; before one of these it stands alone and is "hers": "his is blue", "his and mine"
_ALONE = {
    "is", "are", "was", "were", "be", "been", "has", "had", "have", "do", "does", "did", "will", "would", "can", "could", "may", "might",
    "must", "shall", "should", "and", "or", "nor", "but", "not", "too", "also", "as", "than", "that", "which", "who", "when", "while",
    "if", "because", "to", "from", "in", "on", "at", "by", "for", "with", "alone",
}  # fmt: skip
_WORD = re.compile(r"(?<![\w'’-])(he|him|his|himself)(?![\w-])", re.IGNORECASE)
_NEXT = re.compile(r"\s+[\"“‘'(*_]*(\w+)")


@dataclass(frozen=True, slots=True)
class Edit:
    """Characters start .. end - 1 of a text become `new`."""

    start: int
    end: int
    new: str


def feminine_edits(text: str) -> list[Edit]:
    """What to change so that he, him, his and himself are she, her, her or hers and herself, in the same capitals; from left to right.

    Only whole words: "the", "history" and "T-his" stay; "he's" and "he'll" are changed before the apostrophe.
    """
    return [Edit(match.start(1), match.end(1), _like(match[1], _of(match))) for match in _WORD.finditer(text)]


def same_edits(text: str) -> list[Edit]:
    """The same words in the place of themselves: the control of a counterfactual, which must change nothing."""
    return [Edit(match.start(1), match.end(1), match[1]) for match in _WORD.finditer(text)]


def feminine(text: str) -> str:
    """A text with feminine pronouns.

    >>> feminine("He said the history was his, not HIS father's.")
    "She said the history was hers, not HER father's."
    """
    parts, at = [], 0
    for edit in feminine_edits(text):
        parts += [text[at : edit.start], edit.new]
        at = edit.end
    return "".join([*parts, text[at:]])


def _of(match: re.Match[str]) -> str:
    word = match[1].lower()
    if word != "his":
        return _FEMININE[word]
    rest = match.string[match.end() : match.end() + 40]
    follows = _NEXT.match(rest)
    is_alone = follows[1].lower() in _ALONE if follows else bool(rest.strip())  # a text cut off behind it says nothing: mostly "her"
    return "hers" if is_alone else "her"


def _like(old: str, new: str) -> str:
    """In the capitals of the old word."""
    if old.isupper():
        return new.upper()
    return new.capitalize() if old[0].isupper() else new
