"""Phrases in a stream: every place, the longest ones only, and the same as by looking everywhere."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from trivium.data import ngrams
from trivium.data.ngrams import longest_matches, occurrences

WORDS = st.lists(st.integers(0, 3), max_size=40)


def looked_up(tokens: list[int], phrase: list[int]) -> list[int]:
    return [start for start in range(len(tokens) - len(phrase) + 1) if tokens[start : start + len(phrase)] == phrase]


def test_by_hand():
    tokens = np.array([7, 1, 2, 3, 9, 1, 2, 3, 4, 7, 2, 3], np.uint16)
    first, second = longest_matches(tokens, np.array([5, 1, 2, 3, 4, 5, 7, 2]), shortest=2)
    assert (first.first, first.length, first.starts.tolist()) == (1, 4, [5])
    assert (second.first, second.length, second.starts.tolist()) == (6, 2, [9])
    assert occurrences(tokens, np.array([2, 3])).tolist() == [2, 6, 10]


@given(tokens=WORDS, phrase=st.lists(st.integers(0, 3), min_size=1, max_size=5), dtype=st.sampled_from([np.uint16, np.int32]))
@settings(deadline=None, max_examples=200)
def test_a_phrase_is_found_wherever_it_stands(tokens, phrase, dtype):
    assert occurrences(np.array(tokens, dtype), np.array(phrase)).tolist() == looked_up(tokens, phrase)


@given(
    tokens=WORDS, query=st.lists(st.integers(0, 4), max_size=12), shortest=st.integers(2, 4), dtype=st.sampled_from([np.uint16, np.int32])
)
@settings(deadline=None, max_examples=200)
def test_the_longest_phrases_are_those_that_cannot_grow(tokens, query, shortest, dtype):
    expected = {}
    for first in range(len(query)):
        for last in range(first + shortest, len(query) + 1):
            left, right = query[max(0, first - 1) : last], query[first : last + 1]
            can_grow = (first > 0 and looked_up(tokens, left)) or (last < len(query) and looked_up(tokens, right))
            if looked_up(tokens, query[first:last]) and not can_grow:
                expected[first, last - first] = looked_up(tokens, query[first:last])
    found = longest_matches(np.array(tokens, dtype), np.array(query, np.int64), shortest=shortest)
    assert {(match.first, match.length): match.starts.tolist() for match in found} == expected
    assert [match.length for match in found] == sorted((match.length for match in found), reverse=True)


def test_a_phrase_over_the_border_of_two_chunks_is_found(monkeypatch):
    monkeypatch.setattr(ngrams, "_CHUNK", 4)
    tokens = np.arange(20, dtype=np.uint16)
    for start in range(18):
        assert occurrences(tokens, tokens[start : start + 3]).tolist() == ([start] if start < 18 else [])
        [match] = longest_matches(tokens, tokens[start : start + 3], shortest=2)
        assert match.starts.tolist() == [start]


@pytest.mark.parametrize("query", [[], [3]])
def test_less_than_two_tokens_are_no_phrase(query):
    assert longest_matches(np.arange(9, dtype=np.uint16), np.array(query, np.int64), shortest=2) == []
