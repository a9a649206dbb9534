"""Lines that many documents share: the first keeps them, short and rare ones stay."""

import pytest

from trivium.core.errors import ConfigError
from trivium.text.dedup import LineDedup

MENU = "Home | About us | Contact | Imprint"


def spans_of(texts: list[str], **options: int) -> list[list[str]]:
    shared = LineDedup(**options).shared(texts)
    return [[text[start:end] for start, end in shared.spans(number, text)] for number, text in enumerate(texts)]


def test_a_line_of_enough_documents_stays_in_the_first_alone():
    texts = ["a text of its own", f"{MENU}\nfirst", f"second\r\n  {MENU.upper()}\r\nmore", f"third\n{MENU}"]
    assert spans_of(texts, min_documents=3) == [[], [], [f"  {MENU.upper()}\r\n"], [MENU]]
    assert spans_of(texts, min_documents=4) == [[], [], [], []]


def test_a_document_counts_once_however_often_it_has_the_line():
    assert spans_of([f"{MENU}\n{MENU}\n{MENU}", MENU], min_documents=3) == [[], []]
    assert spans_of([MENU, f"{MENU}\n{MENU}"], min_documents=2) == [[], [f"{MENU}\n", MENU]]


def test_short_lines_stay():
    assert spans_of(["}\n"] * 9, min_documents=2) == [[]] * 9
    assert spans_of([], min_documents=2) == []


@pytest.mark.parametrize("memory_bytes", [1, 500, 5000])
def test_less_memory_gives_the_same(memory_bytes):
    texts = ["\n".join(f"this is line number {number * factor % 97}" for number in range(40)) for factor in (1, 3, 5, 7)]
    found = spans_of(texts, min_documents=2, memory_bytes=memory_bytes)
    assert found == spans_of(texts, min_documents=2)
    assert any(found)


def test_one_document_shares_with_nobody():
    with pytest.raises(ConfigError, match="at least 2"):
        LineDedup(min_documents=1)
