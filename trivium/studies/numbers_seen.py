"""Which whole numbers the text of training has, how often, by step: with borders, so that 110 is no 10, and 1,200 and 3.5 are neither."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from trivium.data.training_order import TrainingOrder

NUMBER = re.compile(r"(?<!\w)(?<!\d[.,])\d{1,6}(?!\w)(?![.,]\d)")

ToText = Callable[[np.ndarray], str]


def numbers_in(text: str) -> set[int]:
    """The whole numbers that stand in a text by themselves.

    >>> sorted(numbers_in("110 rows, 10 of 1,200 at 3.5, x7 and 10."))
    [10, 110]
    """
    return {int(found) for found in NUMBER.findall(text)}


def seen_by(order: TrainingOrder, text_of: ToText, steps: Sequence[int], document_start: int) -> dict[int, Counter[int]]:
    """Number of updates -> number -> how many rows up to then have it. What a row's border cuts is left out: it may be of a longer one.

    document_start: the id that stands before each document. Cost: one pass over the rows.
    """
    counts: dict[int, Counter[int]] = {}
    running: Counter[int] = Counter()
    for step in range(max(steps) + 1):
        if step in steps:
            counts[step] = Counter(running)
        if step < max(steps):
            for tokens in order.batch(step):
                documents = np.split(tokens, np.flatnonzero(tokens == document_start))
                running.update(numbers_in(_inside("\n".join(map(text_of, documents)))))
    return counts


def _inside(text: str) -> str:
    """Without the digits, and their points and commas, that touch a border of the row."""
    return re.sub(r"^[\w.,]*\d[\w.,]*|[\w.,]*\d[\w.,]*$", " ", text)
