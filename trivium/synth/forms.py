"""Texts with their pairs as one text for pre-training, in a form drawn by lot: the pairs follow their text, and the next text follows them.

Cheng et al. 2024, arXiv:2406.14491, section 2.2: the templates are those of FLAN's few-shot examples. Differences: the forms are our own
(forms.toml), and of the layouts of the published code there are four: classic, dialogue, a numbered list where every text has two pairs
or more, and inverted, where the question follows its answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from trivium.core.config import read_toml
from trivium.core.seeds import generator
from trivium.text.records.readings import Reading

SHARES = {"dialogue": 0.05, "list": 0.05, "inverted": 0.05}  # the rest is classic


@dataclass(frozen=True, slots=True)
class Form:
    """name: layout and its number, such as `classic 2`. between: what stands between two pairs."""

    name: str
    pair: str
    between: str

    def __call__(self, readings: Sequence[Reading]) -> str:
        """One text; a blank line stands before the pairs of each and before the next."""
        return "\n\n".join(f"{reading.context.strip()}\n\n{self.pairs(reading)}" for reading in readings)

    def pairs(self, reading: Reading) -> str:
        """The pairs of one text."""
        return self.between.join(
            self.pair.format(number=number, question=pair.question, answer=pair.answer)
            for number, pair in enumerate(reading.pairs, start=1)
        )


def drawn(readings: Sequence[Reading], seed: int, number: int) -> Form:
    """The form of the text with this number."""
    draw = generator(seed, "forms", number)
    shares = {name: share for name, share in SHARES.items() if name != "list" or all(len(reading.pairs) > 1 for reading in readings)}
    ends = np.cumsum(list(shares.values()))
    layout = [*shares, "classic"][int(np.searchsorted(ends, draw.random(), side="right"))]
    place = int(draw.integers(len(_forms()[layout])))
    return Form(f"{layout} {place + 1}", **_forms()[layout][place])


@cache
def _forms() -> dict[str, Any]:
    return read_toml(Path(__file__).with_name("forms.toml"))
