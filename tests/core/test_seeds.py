"""Random numbers are functions of (seed, purpose, counters); these very numbers are part of what a run means."""

import numpy as np
import pytest

from trivium.core.seeds import generator, key, mix, uniforms


def test_the_numbers_are_the_ones_of_every_earlier_version():
    assert key(1, "order", 0, 7) == 5_320_678_455_938_516_719
    assert generator(1, "init").integers(0, 1000, 4).tolist() == [146, 858, 953, 698]
    assert uniforms(5, np.array([0, 0, 1]), np.array([0, 1, 0])).tolist() == [0.9371233464116534, 0.33726274442364956, 0.28265509249286014]


def test_mix_is_splitmix64():
    """Seed 1234567: the first outputs of the reference implementation, which adds the golden constant once a draw."""
    golden = 0x9E3779B97F4A7C15
    states = np.array([(1234567 + step * golden) % 2**64 for step in range(3)], np.uint64)
    assert mix(states).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_keys_differ_in_every_argument():
    keys = [key(1, "a"), key(2, "a"), key(1, "b"), key(1, "a", 0), key(1, "a", 1), key(1, "a", 0, 0), key(1, "a", 10), key(11, "a", 0)]
    assert len(set(keys)) == len(keys)


def test_a_generator_asked_for_twice_gives_the_same_numbers():
    assert generator(3, "dropout", 5).random(8).tolist() == generator(3, "dropout", 5).random(8).tolist()
    assert generator(3, "dropout", 5).random(8).tolist() != generator(3, "dropout", 6).random(8).tolist()


@pytest.mark.parametrize(("rows", "columns"), [(200_000, 1), (1, 200_000), (400, 500)])
def test_uniforms_are_uniform(rows, columns):
    index, position = (grid.ravel() for grid in np.meshgrid(np.arange(rows), np.arange(columns)))
    drawn = uniforms(key(1, "sample"), index, position)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = np.histogram(drawn, bins=100, range=(0, 1))[0]
    chi_square = ((counts - 2000) ** 2 / 2000).sum()
    assert 50 < chi_square < 165  # 99 degrees of freedom: outside with probability below 1e-4
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.01


def test_a_draw_does_not_depend_on_its_neighbours_in_the_batch():
    stream, index, position = key(2, "sample"), np.arange(64), np.arange(64) % 7
    together = uniforms(stream, index, position)
    alone = [uniforms(stream, index[i : i + 1], position[i : i + 1])[0] for i in range(64)]
    shuffled = np.random.default_rng(0).permutation(64)
    assert together.tolist() == alone
    assert together[shuffled].tolist() == uniforms(stream, index[shuffled], position[shuffled]).tolist()


def test_streams_do_not_share_numbers():
    index, position = np.repeat(np.arange(100), 100), np.tile(np.arange(100), 100)
    drawn = np.concatenate([uniforms(key(seed, "sample"), index, position) for seed in range(4)])
    assert len(np.unique(drawn)) == len(drawn)
