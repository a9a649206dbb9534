"""Words cut and hashed in NumPy are those of Python's own splitters, wherever they stand."""

import re

import numpy as np
from hypothesis import given, settings, strategies as st

from trivium.text import words as words_file
from trivium.text.words import Text, Words, hash_words, lay_out, ngrams, split_at_punctuation

TEXTS = st.lists(
    st.text(st.characters(codec="utf-8", max_codepoint=0xFFFF) | st.sampled_from(" \n\t\u00a0ab_1é—"), max_size=60), max_size=6
)


def said(texts: list[str], text: Text, words: Words) -> list[list[str]]:
    parts = []
    for number, (content, start) in enumerate(zip(texts, text.start_D, strict=True)):
        own = slice(words.first_D[number], words.first_D[number + 1])
        parts.append([content[a - start : b - start] for a, b in zip(words.start_W[own], words.end_W[own], strict=True)])
    return parts


@settings(deadline=None)  # the first call makes the tables
@given(TEXTS)
def test_words_are_those_of_a_regular_expression(texts):
    text = lay_out(texts)
    assert said(texts, text, split_at_punctuation(text)) == [re.findall(r"\w+", one) for one in texts]


def test_a_word_has_one_hash_wherever_it_stands_and_in_any_case():
    text = lay_out(["the Whale, the whale", "", "a whale! 😀 x"])
    words = split_at_punctuation(text)
    hashes = hash_words(text, words)
    assert hashes[1] == hashes[3] == hashes[5]
    assert hashes[0] == hashes[2]
    assert len(set(hashes.tolist())) == 4  # the, whale, a, x


def test_no_two_of_a_hundred_thousand_words_collide():
    names = [f"w{number:x}" for number in range(100_000)]
    text = lay_out([" ".join(names)])
    assert len(np.unique(hash_words(text, split_at_punctuation(text)))) == len(names)


def test_ngrams_stay_within_their_document():
    text = lay_out(["one two three", "one two", "zero one two three"])
    words = split_at_punctuation(text)
    grams, first = ngrams(hash_words(text, words), words, 3)
    assert words.document_W[first].tolist() == [0, 2, 2]
    assert grams[0] == grams[2] != grams[1]


def test_a_hash_does_not_depend_on_its_place_in_a_long_text(monkeypatch):
    texts = ["the whale " * 40 + "spouts", "the whale spouts"]
    whole = [hash_words(text, split_at_punctuation(text)) for text in (lay_out(texts), lay_out(texts[1:]))]
    monkeypatch.setattr(words_file, "_POWER_BITS", 4)
    words_file._powers.cache_clear()
    parts = [hash_words(text, split_at_punctuation(text)) for text in (lay_out(texts), lay_out(texts[1:]))]
    words_file._powers.cache_clear()
    assert all(np.array_equal(one, other) for one, other in zip(whole, parts, strict=True))
    assert len(set(whole[0].tolist())) == 3
