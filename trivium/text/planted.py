"""What is put into a corpus on purpose, so that what it does to a model can be measured: copies, canaries, sums.

Each is a component that gives documents to be spread among others; what it draws depends on the seed alone.
"""

import re
from collections.abc import Sequence
from itertools import cycle
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.core.seeds import generator
from trivium.core.types import Document

_WORD = re.compile("[a-z]{2,12}")
QUESTION = "Q: What is {first} plus {second}? A:"  # the form of the arithmetic task of Pythia's study of term frequency


@component
class Copies:
    """So many documents, drawn by lot, again and again, until copies are this share of all text.

    Of the Pile about 0.31 of the text goes when near duplicates do (Biderman et al. 2023: 300B tokens to 207B).
    """

    kind: Literal["copies"] = "copies"
    share: float = Field(default=0.31, gt=0, lt=1)
    documents: int = Field(default=200, gt=0)

    def __call__(self, documents: Sequence[Document], seed: int) -> list[Document]:
        """The copies, each with the name of its original."""
        if self.documents > len(documents):
            raise DataError(f"documents is {self.documents:,}, the corpus has {len(documents):,}")
        chosen = generator(seed, "planted copies").permutation(len(documents))[: self.documents]
        missing = self.share / (1 - self.share) * sum(len(document.text) for document in documents)
        copies = []
        for number in cycle(chosen.tolist()):
            if missing <= 0:
                return copies
            copies.append(documents[number])
            missing -= max(1, len(documents[number].text))
        return copies


@component
class Canaries:
    """So many texts of random words of the corpus; of each number in `repeats` as many texts stand that often.

    They are what can only be known by heart (Carlini et al. 2019, arXiv:1802.08232).
    """

    kind: Literal["canaries"] = "canaries"
    count: int = Field(default=200, gt=0)
    words: int = Field(default=48, ge=8)
    repeats: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(1, 2, 4, 8, 16), min_length=1)

    def __call__(self, documents: Sequence[Document], seed: int) -> list[Document]:
        """Every copy of every canary; `meta` says how often it stands."""
        draw = generator(seed, "canaries")
        words = sorted({word for document in documents[:2000] for word in _WORD.findall(document.text.lower())})
        if len(words) < 2:
            raise DataError("the corpus has no words to make canaries of")
        planted = []
        for number in range(self.count):
            text = " ".join(words[i] for i in draw.integers(len(words), size=self.words))
            times = self.repeats[number % len(self.repeats)]
            planted += [Document(text, f"canary {number}", "canaries", {"repeats": times})] * times
        return planted


@component
class Sums:
    """So many documents of eight sums each; the first number is 0 to `first` - 1, the second 1 to `second`.

    law zipf: the first number of rank r is drawn with a probability that goes with 1 / r; which number has which rank is drawn by lot,
    so how often it stands has nothing to do with how large it is. uniform: all alike.
    """

    kind: Literal["sums"] = "sums"
    documents: int = Field(default=4000, gt=0)
    first: int = Field(default=50, ge=2, le=1000)
    second: int = Field(default=9, ge=1, le=1000)
    law: Literal["zipf", "uniform"] = "zipf"

    def __call__(self, documents: Sequence[Document], seed: int) -> list[Document]:
        """The documents of sums."""
        draw, shape = generator(seed, "planted sums"), (self.documents, 8)
        weight_F = 1 / (1 + draw.permutation(self.first)) if self.law == "zipf" else np.ones(self.first)
        first = draw.choice(self.first, shape, p=weight_F / weight_F.sum())
        second = draw.integers(1, self.second + 1, shape)
        return [
            Document("\n".join(map(sum_line, *pair)), f"sums {number}", "sums")
            for number, pair in enumerate(zip(first.tolist(), second.tolist(), strict=True))
        ]


Planted = Annotated[Copies | Canaries | Sums, Field(discriminator="kind")]


def sum_line(first: int, second: int) -> str:
    """A sum as it stands in the corpus.

    >>> sum_line(12, 7)
    'Q: What is 12 plus 7? A: 19'
    """
    return f"{QUESTION.format(first=first, second=second)} {first + second}"
