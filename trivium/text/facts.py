"""Pages of facts about people, and questions that they answer in their own words: reading so simple that a small model can learn it.

After the tasks of Weston et al. 2015, arXiv:1502.05698 (task 1, single supporting fact). Who does what is drawn by lot, so only reading
the page tells it. A question is answered by the sentence. The words are in facts.toml.
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
    """A sentence, the question that it answers, and what the answer is about: a word that only the page tells."""

    sentence: str
    question: str
    value: str


def page(draw: np.random.Generator, num_facts: int) -> tuple[Fact, ...]:
    """Facts about so many different people, each of another kind; at most as many as there are kinds."""
    names = draw.permutation(table()["names"])[:num_facts]
    kinds = [table()["relations"][place] for place in draw.permutation(len(table()["relations"]))[:num_facts]]
    return tuple(
        Fact(kind["says"].format(name=name, value=value), kind["asks"].format(name=name), value)
        for name, kind in zip(names, kinds, strict=True)
        for value in [kind["values"][int(draw.integers(len(kind["values"])))]]
    )


def text_of(facts: Sequence[Fact]) -> str:
    """The page."""
    return " ".join(fact.sentence for fact in facts)


@cache
def table() -> dict[str, Any]:
    """names, and relations: {says, asks, values}."""
    return read_toml(Path(__file__).with_name("facts.toml"))
