"""Correlation and its test against numbers on paper, and a simulation in which there is none."""

import numpy as np
import pytest

from trivium.report.correlation import correlation, ranks, slope, spearman


def test_ranks_and_their_correlation_by_hand():
    assert ranks([10, 20, 20, 5]).tolist() == [2, 3.5, 3.5, 1]
    assert correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1)
    assert correlation([1, 1, 1], [1, 2, 3]) == 0
    rho, p = spearman([1, 2, 3, 4, 5], [1, 2, 3, 5, 4])
    assert rho == pytest.approx(1 - 6 * 2 / (5 * 24))
    assert p == pytest.approx(10 / 120, abs=0.01)  # the orders of five whose |rho| is as large: 5 of 120 at each end
    assert spearman([1, 2], [3, 3]) == (0.0, 1.0)


def test_what_a_straight_line_leaves_has_no_correlation():
    assert slope([1, 2, 3], [2, 4, 9]) == pytest.approx(3.5)
    assert slope([2, 2], [1, 5]) == 0
    draw = np.random.default_rng(2)
    x_N = draw.random(50)
    y_N = 3 * x_N + draw.random(50)
    assert abs(correlation(x_N, y_N - slope(x_N, y_N) * x_N)) < 1e-12


def test_the_permutation_test_keeps_its_level():
    draw = np.random.default_rng(4)
    rejected = [spearman(draw.random(20), draw.random(20), seed=seed)[1] < 0.05 for seed in range(60)]
    assert np.mean(rejected) < 0.15
