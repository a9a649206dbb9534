"""Masculine pronouns made feminine, word by word: the text of a counterfactual in which nothing else is different.

Left out: nouns and names, and the other direction, in which "her" may be "him" or "his" (Biderman et al. 2023, arXiv:2304.01373, section 3.1).
"""

import re

_FEMININE = {"he": "she", "him": "her", "his": "her", "himself": "herself"}
# "his" before a word it belongs to is "her"; alone it is "hers". Adverbs and the like do not belong to it: "his is blue", "his and mine".
_ALONE = {
    "is", "are", "was", "were", "be", "been", "has", "had", "have", "do", "does", "did", "will", "would", "can", "could", "may", "might", "must",
    "shall", "should", "and", "or", "nor", "but", "not", "too", "also", "as", "than", "that", "which", "who", "when", "while", "if", "because",
    "to", "from", "in", "on", "at", "by", "for", "with", "alone",
}  # fmt: skip
_WORD = re.compile(r"(?<![\w'’-])(he|him|his|himself)(?![\w-])", re.IGNORECASE)
_NEXT = re.compile(r"[ \t\r\n]+(?:[\"“‘'(*_]*)([\w]+)")


def feminine(text: str) -> tuple[str, int]:
    """The text with he, him, his and himself as she, her, her or hers and herself, in the same capitals; and how many words were changed.

    Only whole words: "the", "history" and "T-his" stay. "he's" and "he'll" are changed before the apostrophe.

    >>> feminine("He said the history was his, not HIS father's.")
    ("She said the history was hers, not HER father's.", 3)
    """
    return _WORD.subn(lambda match: _like(match[1], _of(match)), text)


def same(text: str) -> tuple[str, int]:
    """The text as it is, and no change: the control."""
    return text, 0


def count(text: str) -> int:
    """Masculine pronouns in a text."""
    return sum(1 for _ in _WORD.finditer(text))


def _of(match: re.Match[str]) -> str:
    word = match[1].lower()
    if word != "his":
        return _FEMININE[word]
    follows = _NEXT.match(match.string, match.end())
    return "her" if follows and follows[1].lower() not in _ALONE else "hers"


def _like(old: str, new: str) -> str:
    """In the capitals of the old word."""
    if old.isupper() and len(old) > 1:
        return new.upper()
    return new.capitalize() if old[0].isupper() else new
