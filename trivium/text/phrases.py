"""Phrases in a text: which of a list it holds, as whole words, and what is left of it without the sentences that hold them."""

import re
from collections.abc import Sequence

_SENTENCE = re.compile(r"[^.!?]*[.!?]*\s*")  # with its marks and the white space behind it


def phrases_in(text: str, phrases: Sequence[str]) -> list[str]:
    """Those of the phrases that the text holds, in their order; upper or lower case and the kind of white space do not matter.

    >>> phrases_in("Foolish? A  FOOL asks.", ["fool", "a fool", "fools"])
    ['fool', 'a fool']
    """
    return [phrase for phrase in phrases if _pattern(phrase).search(text)]


def without_phrases(text: str, phrases: Sequence[str]) -> str:
    """The text without every sentence that holds one of the phrases.

    >>> without_phrases("An axiom is a truth. Only a fool asks. It is old.", ["fool"])
    'An axiom is a truth. It is old.'
    """
    sentences = [match[0] for match in _SENTENCE.finditer(text) if match[0]]
    return "".join(sentence for sentence in sentences if not phrases_in(sentence, phrases)).strip()


def _pattern(phrase: str) -> re.Pattern[str]:
    words = r"\s+".join(map(re.escape, phrase.split()))
    return re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)
