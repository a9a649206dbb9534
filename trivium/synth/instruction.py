"""What is an instruction: rules that say why a text is none, by lists of words that lie beside this file.

They look for a question or a request in English, nothing else: whether it can be answered, or is worth it, is for other filters.
"""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from trivium.core.config import read_toml
from trivium.score.rewards.repetition import repeated_share

MIN_WORDS, MIN_LETTER_SHARE, MAX_REPEATED = 2, 0.5, 0.5
_SENTENCE = re.compile(r"(?<=[.!?:;])\s+|\n+")
_AROUND = " \t\"'`*_-([{<>#.0123456789)"
_APOSTROPHE = str.maketrans("\u2019", "'")


def why_no_instruction(text: str) -> str | None:
    """The reason why a text is no instruction, in a few words; None if it is one."""
    words, lists = text.split(), _lists()
    visible = "".join(words)
    small = text.translate(_APOSTROPHE).lower().strip()
    if not visible:
        return "is empty"
    if lists["controls"].search(text):
        return "spells a control token"
    if sum(map(str.isalpha, visible)) < MIN_LETTER_SHARE * len(visible):
        return "is mostly no words"
    if len(words) < MIN_WORDS:
        return "is one word"
    if text.rstrip().endswith(":"):
        return "announces what does not come"  # as Magpie's filter: Xu et al. 2024, arXiv:2406.08464
    if lists["answers"].match(small):
        return "speaks as the assistant"
    if repeated_share(text, 3) > MAX_REPEATED:
        return "repeats itself"
    return None if _asks(small) else "asks for nothing"


def _asks(small: str) -> bool:
    lists = _lists()
    if "?" in small or lists["requests"].search(small):
        return True
    first = (sentence.lstrip(_AROUND).split(maxsplit=1) for sentence in _SENTENCE.split(small))
    return any(words and words[0].strip(",.:;!") in lists["first"] for words in first)


@cache
def _lists() -> dict[str, Any]:
    read = read_toml(Path(__file__).with_name("instruction.toml"))
    return {
        "first": frozenset(read["verbs"]) | frozenset(read["questions"]),
        "requests": _any_of(read["requests"]),
        "answers": _any_of(read["answers"]),
        "controls": re.compile(read["controls"], re.MULTILINE),
    }


def _any_of(phrases: Sequence[str]) -> re.Pattern[str]:
    """One of them, not as a part of longer words: `please` is not in `pleased`."""
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, phrases))})(?!\w)")
