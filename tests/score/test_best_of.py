"""The best of k by order statistics, against all subsets written out."""

from itertools import combinations
from math import comb, log

import numpy as np
import pytest

from trivium.core.seeds import generator
from trivium.score.best_of import best_of, kl_of_best_of


def test_the_best_of_two_of_three_by_hand():
    # the pairs of 1, 2, 4 have the maxima 2, 4 and 4
    np.testing.assert_allclose(best_of(np.array([[4.0, 1.0, 2.0]])), [[7 / 3, 10 / 3, 4]])


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_it_is_the_mean_over_all_subsets(n):
    scores_PN = generator(1, "scores", n).normal(size=(4, n)).round(1)
    expected = [[np.mean([max(subset) for subset in combinations(scores, k)]) for k in range(1, n + 1)] for scores in scores_PN]
    np.testing.assert_allclose(best_of(scores_PN), expected, rtol=1e-12)


def test_of_right_and_wrong_it_is_pass_at_k():
    n, right = 10, 3
    scores = np.array([[1.0] * right + [0.0] * (n - right)])
    np.testing.assert_allclose(best_of(scores)[0], [1 - comb(n - right, k) / comb(n, k) for k in range(1, n + 1)], rtol=1e-12)


def test_another_measure_of_what_is_chosen_is_averaged_over_lots_between_equals():
    # of two: {0, 1} and {0, 2} give the one that scores 1, which is worth 5 or 7; {1, 2} gives either
    chosen = best_of(np.array([[0.0, 1.0, 1.0]]), np.array([[9.0, 5.0, 7.0]]))
    np.testing.assert_allclose(chosen, [[7, 6, 6]])


def test_of_a_thousand_answers_it_stays_finite_and_rises():
    curve = best_of(generator(1, "many").random((2, 1000)))
    assert np.isfinite(curve).all()
    assert (np.diff(curve) >= -1e-12).all()
    assert curve[0, 3] == pytest.approx(0.8, abs=0.03)  # of k uniform numbers the largest is k / (k + 1) on average


@pytest.mark.parametrize(("n", "nats"), [(1, 0), (2, 0.1931), (4, 0.6363), (8, 1.2044), (16, 1.8351), (64, 3.1745)])
def test_how_far_the_best_of_n_is_at_most(n, nats):
    assert kl_of_best_of(n) == pytest.approx(nats, abs=5e-5)


def test_on_three_answers_the_distance_of_the_best_of_four_is_below_its_bound():
    p = np.array([0.5, 0.3, 0.2])  # from the worst answer to the best
    below = np.cumsum(p)
    best = np.diff(below**4, prepend=0)
    np.testing.assert_allclose(best, [0.0625, 0.3471, 0.5904])
    assert sum(q * log(q / p_i) for q, p_i in zip(best, p, strict=True)) == pytest.approx(0.559751, abs=1e-6)
    assert kl_of_best_of(4) > 0.559751
