"""ROUGE-L: how much two texts share, by the longest sequence of words that is in both in the same order.

Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", section 3.1, with beta = 1, as Self-Instruct compares instructions. Left
out: stemming, and sequences over several sentences (ROUGE-Lsum).
"""

import re
from collections.abc import Sequence

_OTHER = re.compile(r"[^a-z0-9]+")


def rouge_words(text: str) -> list[str]:
    """Words as the reference package `rouge_score` cuts them: small letters and digits of ASCII, all else is space."""
    return _OTHER.sub(" ", text.lower()).split()


def rouge_l(first: Sequence[str], second: Sequence[str]) -> float:
    """The F measure of two lists of words, 0 to 1; 0 if one is empty. Symmetric.

    >>> rouge_l("the cat sat".split(), "the black cat".split())
    0.6666666666666666
    """
    if not first or not second:
        return 0.0
    return 2 * common_length(first, second) / (len(first) + len(second))


def common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence, in O(len(second)) steps on integers of len(first) bits (Hyyro 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    everything = (1 << len(first)) - 1
    row = everything
    for word in second:
        here = row & places.get(word, 0)
        row = ((row + here) | (row - here)) & everything
    return len(first) - row.bit_count()


def at_most(num_first: int, num_second: int) -> float:
    """What ROUGE-L of texts with so many words can be at most."""
    return 2 * min(num_first, num_second) / (num_first + num_second) if num_first and num_second else 0.0
