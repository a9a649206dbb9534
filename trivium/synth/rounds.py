"""Rounds of synthesis: texts fall into M blocks, and those of a later block are shown the texts before them with their pairs.

Cheng et al. 2024, arXiv:2406.14491, section 2.2, as in the code published with it: text i of block r follows text i of block r - 1, so M
texts make a chain. What a text is shown are the texts of its chain back to the first that was not shown one itself; nothing, if the one
before it got no pair or there is no room. Differences: room is counted in tokens, not in words times 1.5; a text without room even alone
stays raw; nothing is put in place of an answer that failed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import TypeVar

import numpy as np

from trivium.core.types import Example
from trivium.synth.template import Dropped, Template
from trivium.text.records.readings import Reading

T = TypeVar("T")
Generate = Callable[[Sequence[np.ndarray], Sequence[int]], Sequence[Example]]  # prompts and their numbers -> what follows each
TOO_LONG = "the text leaves no room for pairs"


@dataclass(frozen=True, slots=True)
class Item:
    """A text with the pairs that were found for it. follows: it was shown the text before it in its chain, and got a pair."""

    reading: Reading
    follows: bool
    dropped: tuple[Dropped, ...] = ()
    tokens: int = 0  # generated


def chains(read: Callable[[], Iterable[T]], total: int, rounds: int) -> Iterator[tuple[T, ...]]:
    """Chains of the `total` things that `read` gives: thing i, i + B, i + 2B ... with B = ceil(total / rounds).

    Every thing is in one chain; the last chains may be shorter by one. `read` is called once a round. Constant memory.
    """
    block = -(-total // rounds)
    gone = object()
    parts = (islice(read(), start, min(start + block, total)) for start in range(0, total, block))
    for members in zip_longest(*parts, fillvalue=gone):
        yield tuple(member for member in members if member is not gone)  # type: ignore[misc]


def synthesize(
    given: Sequence[Sequence[Reading]], numbers: Sequence[Sequence[int]], template: Template, generate: Generate, *, room: int
) -> list[list[Item]]:
    """What the synthesizer finds for chains of texts, round by round, all chains of a round at once.

    given: readings without pairs. numbers: of the texts, by which what is drawn for them is told apart. room: tokens a prompt may have.
    """
    done: list[list[Item]] = [[] for _ in given]
    for number in range(max(map(len, given), default=0)):
        asked = []
        for place, chain in enumerate(given):
            if number < len(chain):
                shots = shown(done[place])
                prompt = template.prompt(shots, chain[number].context)
                if shots and len(prompt) > room:
                    shots, prompt = [], template.prompt([], chain[number].context)
                asked.append((place, bool(shots), prompt))
        fits = [each for each in asked if len(each[2]) <= room]
        answers = generate([prompt for *_, prompt in fits], [numbers[place][number] for place, *_ in fits])
        found = dict(zip((place for place, *_ in fits), answers, strict=True))
        for place, has_shots, _ in asked:
            done[place].append(_item(given[place][number], has_shots, template, found.get(place)))
    return done


def shown(items: Sequence[Item]) -> list[Reading]:
    """What the next text of a chain is shown, the oldest first."""
    found: list[Reading] = []
    for item in reversed(items):
        if not item.reading.pairs:
            break
        found.append(item.reading)
        if not item.follows:
            break
    return found[::-1]


def runs(items: Sequence[Item]) -> Iterator[list[Reading]]:
    """The texts of a chain that become one text: each with those that follow it. One without pairs stands alone."""
    run: list[Reading] = []
    for item in items:
        if run and not item.follows:
            yield run
            run = []
        run.append(item.reading)
    if run:
        yield run


def _item(reading: Reading, has_shots: bool, template: Template, answer: Example | None) -> Item:
    if answer is None:
        return Item(reading, False, (Dropped(TOO_LONG, reading.context),))
    pairs, dropped = template.parse(answer.response)
    found = Reading(reading.context, pairs, reading.source, reading.meta)
    return Item(found, has_shots and bool(pairs), dropped, len(answer.response))
