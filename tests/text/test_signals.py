"""Signals of whole batches are those of plain Python, document by document."""

from pydoc_data.topics import topics

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.text import reference_signals
from trivium.core.types import Document
from trivium.text import repeats
from trivium.text.signals import Signals, first_of, share

LETTERS = "ab .\n\r\t-…#{é\x1c\u2028\u3000(\"')”?İ\x00。*Tthe,"
WORDS = ["the", "The,", "(of)", "...", "…", "“to", "a", "b", "-", "•", "lorem", "IPSUM", "#", 'x."', "12"]
BREAKS = ["\n", "\n\n", "\r\n", " \n", "\v"]
TEXTS = (
    st.text(st.sampled_from(LETTERS), max_size=80)
    | st.lists(st.sampled_from(WORDS + BREAKS), max_size=60).map(" ".join)
    | st.lists(st.sampled_from(WORDS + BREAKS), max_size=60).map("".join)
    | st.text(max_size=30)
)


def vectorised(texts):
    """What the reference gives, for every text, from one batch."""
    batch = Signals([Document(text) for text in texts])
    columns = {name: getattr(batch, name) for name in reference_signals.signals("") if " " not in name}
    for name, parts in (("line", batch.line_parts), ("paragraph", batch.paragraph_parts)):
        columns |= {f"{name} {part}": getattr(parts, part) for part in ("count", "duplicates", "duplicate_chars")}
    for size in reference_signals.NGRAMS:
        columns |= {f"top {size}": batch.top_ngram_chars(size), f"duplicate {size}": batch.duplicate_ngram_chars(size)}
    return [{name: int(column[number]) for name, column in columns.items()} for number in range(len(texts))]


@settings(deadline=None, max_examples=100)
@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_signals_of_random_texts_are_those_of_plain_python(texts):
    assert vectorised(texts) == [reference_signals.signals(text) for text in texts]


def test_signals_of_real_texts_are_those_of_plain_python():
    texts = list(topics.values())[::3]  # Python's own manual: English, tables, code
    assert len(texts) > 20
    for found, expected in zip(vectorised(texts), map(reference_signals.signals, texts), strict=True):
        assert found == expected


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n", "\r", "a\r", "a\r\n", "\r\n\r\n", "...", "....…", '"."', "the", "(((the)))", "𠀀 𒀀 \U0001000a x",
     "lorem ipsu", " ipsum", "lorem ipsum", "İ lorem İpsum",
     ". . . .", "a.)" + ")" * 50, "- " * 40, "x\x85y\x1fz", "a b\n" * 30, "\0a\0 a a\0", "Theé thé tħe be\0"],
)  # fmt: skip
def test_signals_at_the_edges_are_those_of_plain_python(text):
    assert vectorised([text]) == [reference_signals.signals(text)]
    assert vectorised(["x", text, text])[1:] == [reference_signals.signals(text)] * 2


def test_a_batch_too_large_for_packed_places_gives_the_same(monkeypatch):
    texts = ["a b c a b c d\na b c a b\n" * 3, "a b a b"]
    expected = vectorised(texts)
    monkeypatch.setattr(repeats, "_PLACE_BITS", 1)
    assert vectorised(texts) == expected


def test_the_first_reason_that_holds_is_given():
    yes, no = np.array([True, True, False]), np.array([False, True, False])
    assert first_of(("no", no), ("yes", yes)) == ["yes", "no", None]


def test_a_share_of_nothing_is_zero():
    assert share(np.array([0, 1]), np.array([0, 4])).tolist() == [0, 0.25]
