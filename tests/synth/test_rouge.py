"""ROUGE-L: by hand, by enumeration, and against the table of the textbook algorithm."""

import random

import pytest

from trivium.synth.rouge import at_most, common_length, rouge_l, rouge_words


def textbook(first, second):
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, one in enumerate(first, start=1):
        for j, other in enumerate(second, start=1):
            table[i][j] = table[i - 1][j - 1] + 1 if one == other else max(table[i - 1][j], table[i][j - 1])
    return table[-1][-1]


def test_by_hand():
    police = ["police", "killed", "the", "gunman"]  # the example of Lin 2004, section 3.1
    assert rouge_l(police, ["police", "kill", "the", "gunman"]) == pytest.approx(3 / 4)
    assert rouge_l(police, ["the", "gunman", "kill", "police"]) == pytest.approx(2 / 4)
    assert rouge_l(police, police) == 1
    assert rouge_l(police, []) == rouge_l([], []) == 0


def test_the_longest_common_subsequence_is_that_of_the_textbook():
    draw = random.Random(4)
    for _ in range(400):
        first, second = (draw.choices("abcde", k=draw.randint(0, 90)) for _ in range(2))
        assert common_length(first, second) == textbook(first, second)


def test_it_is_symmetric_and_bounded_by_the_lengths():
    draw = random.Random(5)
    for _ in range(200):
        first, second = (draw.choices("abcdefgh", k=draw.randint(1, 30)) for _ in range(2))
        assert rouge_l(first, second) == rouge_l(second, first) <= at_most(len(first), len(second)) <= 1


def test_words_are_small_letters_and_digits():
    assert rouge_words("What's the capital, of Peru-2?") == ["what", "s", "the", "capital", "of", "peru", "2"]
    assert rouge_words("\u00e9\u2014!") == []
