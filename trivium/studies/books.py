"""How many books is that? Tokens in books, by the conversion that is quoted, and whether what is said with it is exact."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from trivium.core.config import component
from trivium.report.quantities import CORPORA, TOKENS_A_BOOK, books, tokens_of
from trivium.studies.finding import Cell, Control, Finding
from trivium.studies.study import Preset, Trial, refuse_folders

HEADER = ("data set", "tokens, quoted", "books", "tokens, as found", "books of these", "note")
TOKENS, QUOTED = 1e12, 15e6  # what is claimed: so many tokens are so many books
WITHIN = 0.01


@component
class Books:
    """Needs no run: the numbers are those of report/quantities.py."""

    name: ClassVar = "books"
    claim: ClassVar = "a trillion tokens are 15 million books (Huyen 2023)"
    question: ClassVar = "How many books are a trillion tokens?"
    rule: ClassVar = (
        f"the claim is right if {TOKENS:.0e} tokens, at the {TOKENS_A_BOOK:,} tokens a book that it is made with, are within {WITHIN:.0%}"
        f" of {QUOTED / 1e6:.0f} million books"
    )
    expected: ClassVar = "14.9 million, exactly; nothing is trained"

    def trials(self, preset: Preset) -> Sequence[Trial]:
        return ()

    def find(self, folders: Sequence[Path]) -> Finding:
        refuse_folders(folders, "quoted numbers")
        smallest = min(CORPORA, key=lambda corpus: corpus.quoted)
        return Finding(
            f"{TOKENS:.0e} tokens are {books(TOKENS) / 1e6:.1f} million books of {TOKENS_A_BOOK:,} tokens.",
            is_quoted(TOKENS), HEADER, [_row(f"{TOKENS:.0e} tokens", TOKENS, None, "the claim"), *(
                _row(each.name, each.quoted, each.there, each.note) for each in CORPORA
            )],
            [
                Control("the tokens of 15 million books", is_positive=True, is_detected=is_quoted(tokens_of(QUOTED))),
                Control(f"the tokens of {smallest.name}", is_positive=False, is_detected=is_quoted(smallest.quoted)),
            ],
        )  # fmt: skip


def is_quoted(tokens: float) -> bool:
    """The rule."""
    return abs(books(tokens) - QUOTED) <= WITHIN * QUOTED


def _row(name: str, quoted: float, there: float | None, note: str) -> list[Cell]:
    return [name, quoted, books(quoted), there, None if there is None else books(there), note]
