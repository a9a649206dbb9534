"""Copies of passages: all that are named stood before, and every one that is long enough is named."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from trivium.core.errors import ConfigError
from trivium.text.dedup import SubstringDedup

LEAST = 40


def noise(draw: np.random.Generator, length: int) -> str:
    return "".join(draw.choice(list("abcdefghij   "), length))


def came_before(texts: list[str], number: int, place: int) -> bool:
    """Whether this character is in a run of 20 that stands in a text before, or earlier in this one."""
    for start in range(max(0, place - 19), place + 1):
        part = texts[number][start : start + 20]
        if len(part) == 20 and (any(part in text for text in texts[:number]) or texts[number].find(part) < start):
            return True
    return False


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(LEAST, 3 * LEAST), st.sampled_from([1 << 32, 100]))
def test_a_planted_copy_is_found_and_nothing_else_is_named(seed, length, memory_bytes):
    draw = np.random.default_rng(seed)
    passage = f" {noise(draw, length - 2)} "
    texts = [noise(draw, draw.integers(0, 400)) for _ in range(8)]
    first, second = sorted(draw.choice(8, 2, replace=False).tolist())
    for number in (first, second):
        place = draw.integers(0, len(texts[number]) + 1)
        texts[number] = texts[number][:place] + passage + texts[number][place:]
    found = SubstringDedup(min_chars=LEAST, memory_bytes=memory_bytes)(texts)
    [(start, end)] = found[second]
    assert passage.strip() in texts[second][start:end] or len(passage.strip()) > end - start >= length - 14  # white space at its ends
    assert list(found) == [second]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_all_that_is_named_stood_before(seed, pieces):
    draw = np.random.default_rng(seed)
    stock = [noise(draw, 60) for _ in range(pieces)]
    texts = ["".join(stock[index] for index in draw.integers(0, pieces, draw.integers(1, 8))) for _ in range(6)]
    for number, spans in SubstringDedup(min_chars=LEAST)(texts).items():
        assert all(came_before(texts, number, place) for start, end in spans for place in range(start, end))


def test_no_word_is_cut_in_two():
    passage = "a passage of some length that two texts have in common, word for word,"
    texts = [f"before bone {passage} and so on", f"another stone {passage} and some more"]
    [start, end] = SubstringDedup(min_chars=LEAST)(texts)[1][0]
    assert texts[1][start:end].strip() == f"{passage} and"


def test_a_text_that_repeats_itself_keeps_it_once():
    once = "this sentence is said again and again and again in one text. "
    [spans] = SubstringDedup(min_chars=LEAST)([once * 5]).values()
    assert spans[0][0] >= len(once) - 14
    assert spans[-1][1] == 5 * len(once)


def test_short_texts_and_none_have_no_copies():
    assert SubstringDedup(min_chars=LEAST)(["same", "same", ""]) == {}
    assert SubstringDedup()([]) == {}


def test_phrases_are_no_copies():
    with pytest.raises(ConfigError, match="below 32 characters"):
        SubstringDedup(min_chars=10)
