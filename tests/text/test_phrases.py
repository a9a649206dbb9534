"""Phrases: whole words, whatever their case and white space, and the sentences that hold them."""

import pytest
from hypothesis import given, strategies as st

from trivium.text.phrases import phrases_in, without_phrases


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Only a fool asks.", ["fool"]),
        ("FOOL", ["fool"]),
        ("foolish fools", []),
        ("You will be\n sorry, fool", ["fool", "be sorry"]),
        ("be, sorry", []),
        ("", []),
        ("fool fool", ["fool"]),
    ],
)
def test_whole_words_count_once(text, found):
    assert phrases_in(text, ["fool", "be sorry"]) == found


def test_a_phrase_is_no_pattern():
    assert phrases_in("It costs $5 (five).", ["$5 (five)", "c.sts", ".*"]) == ["$5 (five)"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("An axiom is true. Only a fool asks. You will be sorry.", "An axiom is true. You will be sorry."),
        ("Fool! Why? It is", "Why? It is"),
        ("Fool", ""),
        ("3.5 is a number.", "3.5 is a number."),
        ("no mark", "no mark"),
    ],
)
def test_sentences_with_a_phrase_go(text, left):
    assert without_phrases(text, ["fool"]) == left


@given(st.text())
def test_what_is_left_has_no_phrase_and_loses_nothing_else(text):
    left = without_phrases(text, ["a", "b c"])
    assert not phrases_in(left, ["a", "b c"])
    assert without_phrases(text, []) == text.strip()
