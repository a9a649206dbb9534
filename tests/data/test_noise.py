"""NEFTune's columns: what noise follows from, whatever was asked for before."""

import math

import numpy as np

from trivium.core.types import Group, example
from trivium.data.noise import KEYS, noisy_embeddings
from trivium.data.sources import Source

LENGTHS = (5, 3, 8)


def source(step: int) -> list[Group]:
    del step
    return [(example(np.arange(LENGTHS[0])), example(np.arange(LENGTHS[1]))), (example(np.arange(LENGTHS[2])),)]


def columns(noisy: Source, step: int, name: str = "noise_key") -> list[list[float]]:
    return [item.columns[name].tolist() for group in noisy(step) for item in group]


def test_the_scale_is_alpha_by_the_root_of_the_sequences_own_length_and_the_width():
    found = columns(noisy_embeddings(source, alpha=5.0, width=16, seed=1), 0, "noise_scale")
    assert found == [[float(np.float32(5.0 / math.sqrt(length * 16)))] * length for length in LENGTHS]


def test_keys_depend_on_seed_step_sequence_and_position_alone():
    noisy = noisy_embeddings(source, alpha=5.0, width=16, seed=1)
    later, first = columns(noisy, 3), columns(noisy, 0)
    assert columns(noisy, 0) == first
    assert columns(noisy_embeddings(source, alpha=1.0, width=4, seed=1), 3) == later
    every = sum(first + later + columns(noisy_embeddings(source, alpha=5.0, width=16, seed=2), 0), [])
    assert len(set(every)) == len(every) == 3 * sum(LENGTHS)
    assert all(key == int(key) and 0 <= key < KEYS for key in every)


def test_groups_and_what_is_learned_stay_as_they_are():
    noisy = noisy_embeddings(source, alpha=5.0, width=16, seed=1)
    for ours, plain in zip(noisy(0), source(0), strict=True):
        assert [(item.tokens.tolist(), item.loss_mask.tolist()) for item in ours] == [
            (item.tokens.tolist(), item.loss_mask.tolist()) for item in plain
        ]
