"""Pages of facts about people, and questions that they answer in their own words: reading so simple that a small model can learn it.

After the tasks of Weston et al. 2015, arXiv:1502.05698 (task 1, single supporting fact). Who does what is drawn by lot, so only reading
the page tells it. The words are in facts.toml.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from trivium.core.config import read_toml


@dataclass(frozen=True, slots=True)
class Fact:
    """A sentence, the question that it answers, and the answer."""

    sentence: str
    question: str
    answer: str


def page(draw: np.random.Generator, num_facts: int) -> tuple[Fact, ...]:
    """Facts about so many different people; no two of them have the same answer."""
    names = draw.choice(len(table()["names"]), num_facts, replace=False)
    found: list[Fact] = []
    for name in names:
        while True:
            relation = table()["relations"][int(draw.integers(len(table()["relations"])))]
            answer = relation["values"][int(draw.integers(len(relation["values"])))]
            if all(answer != other.answer for other in found):
                break
        words = {"name": table()["names"][int(name)], "value": answer}
        found.append(Fact(relation["says"].format(**words), relation["asks"].format(**words), answer))
    return tuple(found)


def text_of(facts: Sequence[Fact]) -> str:
    """The page."""
    return " ".join(fact.sentence for fact in facts)


@cache
def table() -> dict[str, Any]:
    """names, and relations: {says, asks, values}."""
    return read_toml(Path(__file__).with_name("facts.toml"))
