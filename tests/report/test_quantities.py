"""Units and arithmetic that are quoted, as they come out."""

from pathlib import Path

import pytest

from trivium.core.errors import DataError
from trivium.report.quantities import (
    CORPORA,
    DISCREPANCIES,
    books,
    in_books,
    pairs,
    pairs_of,
    tokens_of,
    words_per_token,
)


def test_a_trillion_tokens_are_15_million_books():
    assert books(1e12) == pytest.approx(1.4925e7, rel=1e-4)
    assert round(books(1e12)) == 14_925_373
    assert tokens_of(1) == 67_000
    assert books(tokens_of(12.5)) == 12.5


@pytest.mark.parametrize(
    ("tokens", "said"), [(1e12, "about 14.9M books"), (67_000, "about 1 book"), (1_340_000, "about 20 books"), (6_700, "10.0 % of a book")]
)
def test_they_are_said_for_people(tokens, said):
    assert in_books(tokens) == said


def test_words_a_token_are_counted_of_ones_own_text():
    assert words_per_token(3, 4) == 0.75
    with pytest.raises(DataError, match="3 words in 0 tokens"):
        words_per_token(3, 0)


def test_rankings_give_the_pairs_of_instructgpt():
    assert [pairs(answers) for answers in (4, 9)] == [6, 36]
    assert (50_000 * pairs(4), 50_000 * pairs(9)) == (300_000, 1_800_000)
    assert 64 * pairs(9) == 2304
    assert pairs_of([1] * 9) == 36
    assert pairs_of([2, 1]) == 2
    assert pairs_of([4]) == 0


def test_the_sums_of_published_data_sets_are_right():
    assert 135_296 + 182_831 == 318_127
    assert 160_800 + 8_552 == 169_352
    assert 33_207 + 17_887 == 51_094
    assert 31_144 + 16_185 == 47_329
    [pile] = [corpus for corpus in CORPORA if corpus.name.startswith("Pile")]
    assert pile.trained == 143_000 * 1024 * 2048
    assert all(corpus.quoted > 0 for corpus in CORPORA)


def test_every_discrepancy_says_both_sides():
    assert len(DISCREPANCIES) == len({row.about for row in DISCREPANCIES}) == 18
    assert all(row.quoted and row.checked and row.quoted != row.checked for row in DISCREPANCIES)


def test_the_page_of_the_documentation_shows_every_row():
    page = (Path(__file__).parents[2] / "docs" / "quantities.md").read_text()
    for row in DISCREPANCIES:
        assert f"| {row.about} | {row.quoted} | {row.checked} |" in page
    for corpus in CORPORA:
        there, trained = ("" if value is None else f"{value / 1e12:.3g}T" for value in (corpus.there, corpus.trained))
        assert f"| {corpus.name} | {corpus.quoted / 1e12:.3g}T | {there} | {trained} | {corpus.note} |" in page
