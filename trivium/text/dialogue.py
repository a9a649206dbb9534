"""Dialogues inside pages: transcripts, interviews and questions with answers become conversations.

Rae et al. 2021, arXiv:2112.11446, appendix on fine-tuning for dialogue: at least six paragraphs one after another, each beginning with a
prefix that ends in a separator ("Gopher: ", "Dr Smith - ", "Q. "); the even ones share one prefix, the odd ones another, which differs.
Differences: paragraphs are parted by blank lines or, where that finds nothing, by lines; who speaks first is the user, and a last
question without an answer is left out.
"""

import re
from collections.abc import Sequence

from trivium.core.types import Conversation, Document, Message

MIN_PARAGRAPHS = 6
_MAX_PREFIX_CHARS = 40  # names and titles are shorter
_SEPARATOR = re.compile(r"(?<=\S)(?:: | [-\u2013\u2014] |\. )")
_BLANK_LINE, _LINE = re.compile(r"\n\s*\n"), re.compile(r"\n")


def dialogues(document: Document) -> list[Conversation]:
    """The dialogues of a page, each with `id`, `source` and `speakers` (the two prefixes) in its meta. Cost: O(characters)."""
    for boundary in (_BLANK_LINE, _LINE):
        paragraphs = [part for part in (part.strip() for part in boundary.split(document.text)) if part]
        if found := _dialogues(document, paragraphs):
            return found
    return []


def _dialogues(document: Document, paragraphs: Sequence[str]) -> list[Conversation]:
    prefixes = [_prefixes(paragraph) for paragraph in paragraphs]
    found, start = [], 0
    while start + MIN_PARAGRAPHS <= len(paragraphs):
        end, speakers = _run(prefixes, start)
        if speakers is None:
            start = max(start + 1, end - MIN_PARAGRAPHS)  # a monologue is read once, not from each of its paragraphs
            continue
        even_end = start + (end - start) // 2 * 2
        turns = tuple(_turn(paragraphs[i], i - start, speakers) for i in range(start, even_end))
        found.append(Conversation(turns, meta={"id": document.id, "source": document.source, "speakers": list(speakers)}))
        start = end
    return found


def _run(prefixes: Sequence[frozenset[str]], start: int) -> tuple[int, tuple[str, str] | None]:
    """Where the run that begins at `start` ends, and its two prefixes, or None if it is too short or they are one."""
    shared = [prefixes[start], prefixes[start + 1]]
    end = start
    while end < len(prefixes) and (both := shared[(end - start) % 2] & prefixes[end]):
        shared[(end - start) % 2] = both
        end += 1
    if end - start < MIN_PARAGRAPHS:
        return end, None
    first, second = (max(side, key=len) for side in shared)  # "Dr. Smith: " rather than "Dr. "
    return end, (None if first == second else (first, second))


def _prefixes(paragraph: str) -> frozenset[str]:
    """Everything a paragraph may begin with: up to each separator that words follow."""
    ends = (match.end() for match in _SEPARATOR.finditer(paragraph, 0, _MAX_PREFIX_CHARS))
    return frozenset(paragraph[:end] for end in ends if end < len(paragraph))


def _turn(paragraph: str, index: int, speakers: tuple[str, str]) -> Message:
    return Message("assistant" if index % 2 else "user", paragraph[len(speakers[index % 2]) :].strip())
