"""Multiple choice on paper: what is counted once, what is normalised, and what a grade is worth."""

import numpy as np
import pytest

from trivium.score.choice import among, exclusive, expected_grade


def test_an_option_counts_without_those_that_begin_with_it():
    options = [[1], [1, 0], [2], [1, 0, 0]]
    found = exclusive(np.log([[0.5, 0.2, 0.3, 0.05]]), options)
    assert np.exp(found) == pytest.approx(np.array([[0.3, 0.15, 0.3, 0.05]]))
    assert np.exp(exclusive(np.log([[0.2, 0.2]]), [[1], [1, 0]])) == pytest.approx(np.array([[0.0, 0.2]]))


def test_probabilities_are_those_among_the_options():
    probs, mass = among(np.log([[0.06, 0.02], [0.3, 0.3]]))
    assert probs == pytest.approx(np.array([[0.75, 0.25], [0.5, 0.5]]))
    assert mass == pytest.approx([0.08, 0.6])


def test_options_far_below_all_else_still_have_a_ratio():
    probs, mass = among(np.array([[-2000.0, -2000.0 - np.log(3)]]))
    assert probs == pytest.approx(np.array([[0.75, 0.25]]))
    assert mass == [0]


def test_impossible_options_are_even():
    probs, mass = among(np.full((1, 4), -np.inf))
    assert probs == pytest.approx(np.full((1, 4), 0.25))
    assert mass == [0]


@pytest.mark.parametrize(
    ("probs", "grade"),
    [
        (np.eye(10)[9], 1.0),
        (np.eye(10)[0], -1.0),
        (np.full(10, 0.1), 0.0),
        ((np.eye(10)[4] + np.eye(10)[5]) / 2, 0.0),
        (np.eye(10)[6], 1.5 / 4.5),
    ],
)
def test_grades_from_1_to_10_are_numbers_from_minus_1_to_1(probs, grade):
    assert expected_grade(probs[None]) == pytest.approx([grade])
