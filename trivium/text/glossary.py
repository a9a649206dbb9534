"""Dictionary entries in sentences, and questions about them: what a definition says, asked and answered in words.

A sentence names its word in the form that the question uses (`an axiom`, `to abate`), so a model can learn to take it over.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Part = Literal["noun", "verb", "adjective"]

_NAMES: dict[Part, tuple[str, ...]] = {
    "noun": ("noun", "n."),
    "verb": ("verb", "transitive verb", "intransitive verb", "v.", "v. t.", "v. i.", "v. t. & i.", "v. i. & t."),
    "adjective": ("adjective", "a.", "adj."),
}
_PARTS: dict[str, Part] = {name: part for part, names in _NAMES.items() for name in names}
_ARTICLES = ("a", "an", "the", "one", "any", "that")
_FIRST_CLAUSE = re.compile(r"; as,|[;:]| -- ")


@dataclass(frozen=True, slots=True)
class Entry:
    """A word that can be asked for, with a definition of one clause that reads on from `is` or `means`."""

    word: str
    part: Part
    definition: str

    @property
    def question(self) -> str:
        """`What is an axiom?`, `What does it mean to abate?`, `What does the word ominous mean?`"""
        if self.part == "noun":
            return f"What is {article(self.word)} {self.word}?"
        return f"What does it mean to {self.word}?" if self.part == "verb" else f"What does the word {self.word} mean?"

    @property
    def named(self) -> str:
        """A full sentence that names the word: `An axiom is a self-evident truth.`"""
        return f"{_opening(self.word, self.part)} {self.definition}."

    @property
    def unnamed(self) -> str:
        """A full sentence that does not: `It is a self-evident truth.`"""
        return f"It {'means' if self.part == 'adjective' else 'is'} {self.definition}."

    @property
    def bare(self) -> str:
        """The definition alone: `A self-evident truth.`"""
        return f"{self.definition[0].upper()}{self.definition[1:]}."


def entry_of(record: Mapping[str, Any], *, max_words: int = 14) -> Entry | None:
    """The entry behind a dictionary record {word, part_of_speech, definitions}; None if it cannot be asked for plainly.

    Kept: single lower-case words of 3 to 12 letters whose first definition has a first clause of 3 to max_words words,
    letters and commas only, that begins as its part of speech asks (an article for nouns, `to` for verbs).
    """
    part = part_of(record["part_of_speech"])
    clause = _FIRST_CLAUSE.split(record["definitions"][0])[0].strip().rstrip(".").strip()
    words = clause.split()
    if part is None or not re.fullmatch(r"[a-z]{3,12}", record["word"]) or not 3 <= len(words) <= max_words:
        return None
    if not re.fullmatch(r"[A-Za-z ,'-]+", clause) or not _begins_well(words[0].lower(), part):
        return None
    return Entry(record["word"], part, _lower_first(clause))


def sentence(word: str, part_of_speech: str, definition: str) -> str:
    """One definition as a sentence about its word, whatever its form: `The word acetose means sour like vinegar.`"""
    text = definition if definition.endswith((".", "!", "?")) else f"{definition}."
    part = part_of(part_of_speech)
    first = text.split()[0].lower()
    if part in ("noun", "verb") and _begins_well(first, part):
        return f"{_opening(word, part)} {_lower_first(text)}"
    return f"The word {word} means {_lower_first(text)}"


def part_of(name: str) -> Part | None:
    """Noun, verb or adjective, from a full name or a dictionary's abbreviation."""
    return _PARTS.get(name)


def article(word: str) -> str:
    """`an` before a vowel letter, else `a`."""
    return "an" if word[0].lower() in "aeiou" else "a"


def _opening(word: str, part: Part) -> str:
    if part == "noun":
        return f"{article(word).capitalize()} {word} is"
    return f"To {word} is" if part == "verb" else f"The word {word} means"


def _begins_well(first: str, part: Part) -> bool:
    return part == "adjective" or first in (_ARTICLES if part == "noun" else ("to",))


def _lower_first(text: str) -> str:
    return text[0].lower() + text[1:]
