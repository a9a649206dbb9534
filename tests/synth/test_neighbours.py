"""Nearest earlier neighbours: exact, whatever the blocks, and of planted duplicates."""

import numpy as np
import pytest

from trivium.synth.neighbours import nearest_earlier


def brute_force(vectors):
    """Every distance, by its definition."""
    away = vectors - vectors.mean(0)
    found = []
    for i in range(len(away)):
        each = [1 - away[i] @ away[j] / (np.linalg.norm(away[i]) * np.linalg.norm(away[j])) for j in range(i)]
        found.append((min(each), int(np.argmin(each))) if each else (np.inf, -1))
    return np.array([distance for distance, _ in found]), np.array([place for _, place in found])


def blocks(vectors, size):
    return [vectors[start : start + size] for start in range(0, len(vectors), size)]


@pytest.mark.parametrize("size", [1, 7, 40, 100])
def test_they_are_those_of_all_pairs(size):
    vectors = np.random.default_rng(5).normal(3, 1, (100, 12)).astype(np.float32)
    distance, nearest = nearest_earlier(blocks(vectors, size))
    expected, places = brute_force(vectors.astype(np.float64))
    np.testing.assert_allclose(distance, expected, atol=1e-12)
    assert nearest.tolist() == places.tolist()


def test_planted_duplicates_are_at_distance_0_from_the_first():
    vectors = np.random.default_rng(6).normal(0, 1, (60, 16)).astype(np.float32)
    vectors[[20, 41]] = vectors[3]
    vectors[50] = 4 * vectors[7] - 3 * vectors.mean(0)  # another length, about the same direction from the mean
    distance, nearest = nearest_earlier(blocks(vectors, 16))
    assert np.flatnonzero(distance < 1e-6).tolist() == [20, 41]
    assert nearest[[20, 41]].tolist() == [3, 3]
    assert nearest[50] == 7
    assert distance.min() >= 0


def test_the_distance_of_two_does_not_depend_on_their_order():
    vectors = np.random.default_rng(7).normal(0, 1, (2, 5))
    assert nearest_earlier([vectors])[0][1] == pytest.approx(nearest_earlier([vectors[::-1]])[0][1])
    assert nearest_earlier([vectors])[0][1] == pytest.approx(2)  # two vectors are on opposite sides of their mean


def test_what_is_alone_is_near_to_nothing():
    assert nearest_earlier([np.ones((1, 4), np.float32)])[0].tolist() == [np.inf]


def test_one_vector_again_and_again_is_a_duplicate_though_nothing_is_left_beside_the_mean():
    same = np.tile(np.random.default_rng(8).normal(0, 1, 6).astype(np.float32), (30, 1))
    distance, nearest = nearest_earlier(blocks(same, 7))
    assert distance.tolist() == [np.inf, *[0] * 29]
    assert nearest.tolist() == [-1, *[0] * 29]


def test_what_is_at_the_mean_is_near_to_nothing_but_its_like():
    distance, nearest = nearest_earlier([np.array([[1.0, 1], [3, 1], [2, 1], [2, 1]])])
    assert distance.tolist() == [np.inf, 2, 1, 0]
    assert nearest.tolist()[3] == 2
