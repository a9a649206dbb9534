"""Mixtures: exact at every prefix, each text in an order of its own, nothing stored."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from trivium.core.errors import ConfigError
from trivium.data.mix import Mix, turns
from trivium.data.sources import Corpus

WEIGHTS = st.lists(st.one_of(st.integers(1, 60).map(float), st.sampled_from([0.1, 0.25, 0.03, 2.5])), min_size=1, max_size=9)


def corpus(num_rows: int, *, first: int = 0, seed: int = 1) -> Corpus:
    return Corpus(np.arange(first, first + num_rows * 4 + 1), seq_len=5, rows_per_step=1, seed=seed)


def excess(order: np.ndarray, weights: list[float]) -> float:
    """The largest |count - weight x n| over all prefixes."""
    counts = np.cumsum(order[None, :] == np.arange(len(weights))[:, None], axis=1)
    shares = np.array(weights) / sum(weights)
    return float(np.abs(counts - shares[:, None] * np.arange(1, len(order) + 1)).max())


def test_three_texts_by_hand():
    """A half is owed its first row at place 1 and must have it by place 2, the quarters by place 4."""
    assert turns({"a": 0.5, "b": 0.25, "c": 0.25}).tolist() == [0, 1, 0, 2]


@given(weights=WEIGHTS)
@settings(deadline=None, max_examples=150)
def test_every_prefix_is_within_one_row_of_its_share(weights):
    order = turns({str(number): weight for number, weight in enumerate(weights)})
    assert excess(np.concatenate([order, order, order]), weights) < 1 + 1e-6
    assert excess(order, weights) < 1


def test_whose_turn_it_is_by_most_owed_drifts_further():
    """Why the turn goes to the earliest deadline: with these weights the usual rule is more than one row off."""
    shares = [5, 49, 1, 1, 49, 1, 5]
    given_, order = [0] * 7, []
    for place in range(1, sum(shares) + 1):
        order.append(max(range(7), key=lambda number: shares[number] * place - given_[number] * sum(shares)))
        given_[order[-1]] += 1
    assert excess(np.array(order), shares) == pytest.approx(1.252, abs=1e-3)
    assert excess(turns({str(number): float(share) for number, share in enumerate(shares)}), shares) < 1


def test_tenths_are_tenths():
    assert len(turns({"a": 0.1, "b": 0.2, "c": 0.7})) == 10


def test_weights_of_too_many_digits_are_refused_with_what_to_do():
    with pytest.raises(ConfigError, match=r"the weights \(a 0\.1234567, b 1\.0\) repeat only after .* write them with fewer digits"):
        turns({"a": 0.1234567, "b": 1.0})


def test_each_text_is_read_once_an_epoch_in_its_own_order():
    mix = Mix({"a": corpus(12), "b": corpus(6, first=500, seed=2)}, {"a": 2.0, "b": 1.0}, rows_per_step=3)
    rows = mix.rows_at(0, 36)
    for first, num_rows in ((0, 12), (12, 6)):
        its = rows[(rows >= first) & (rows < first + num_rows)] - first
        alone = corpus(num_rows, seed=1 + bool(first)).rows_at(0, len(its))
        assert its.tolist() == alone.tolist()
        assert sorted(its[:num_rows]) == list(range(num_rows))
    assert mix.counts_at(36).tolist() == [24, 12]


def test_any_part_of_the_order_is_the_same_part_of_the_whole():
    mix = Mix({"a": corpus(12), "b": corpus(6, first=500, seed=2), "c": corpus(3)}, {"a": 5.0, "b": 1.0, "c": 1.5}, rows_per_step=3)
    whole = mix.rows_at(0, 90)
    for first, count in ((0, 1), (7, 20), (59, 31), (89, 1)):
        assert mix.rows_at(first, count).tolist() == whole[first : first + count].tolist()
    far = 10**12
    assert mix.rows_at(far, 5).tolist() == mix.rows_at(far - 3, 9)[3:8].tolist()


def test_another_weight_leaves_the_order_inside_of_a_text_as_it_is():
    sources = {"a": corpus(12), "b": corpus(6, first=500, seed=2)}
    some, other = (Mix(sources, {"a": weight, "b": 1.0}, rows_per_step=3).rows_at(0, 60) for weight in (1.0, 3.0))
    its = [rows[rows < 12][:20].tolist() for rows in (some, other)]
    assert its[0] == its[1]


def test_a_text_goes_on_after_what_was_read_of_it():
    old, new = corpus(12), corpus(6, first=500, seed=2)
    mix = Mix({"new": new, "old": old}, {"new": 3.0, "old": 1.0}, rows_per_step=4, skip={"old": 8})
    rows = mix.rows_at(0, 32)
    assert (rows[rows >= 6] - 6).tolist() == old.rows_at(8, 8).tolist()
    assert rows[rows < 6].tolist() == new.rows_at(0, 24).tolist()
    assert not {*old.rows_at(0, 8).tolist()} & {*(rows[rows >= 6][:4] - 6).tolist()}  # as long as there is something new
    for row in range(18):
        assert mix.places_of(np.array([row]), 32).tolist() == np.flatnonzero(rows == row).tolist()


@given(share=st.sampled_from([0.01, 0.05, 0.25, 0.5]), rows_per_step=st.sampled_from([8, 16, 100]))
@settings(deadline=None, max_examples=12)
def test_replay_is_taken_out_of_the_budget_and_exact_after_every_update(share, rows_per_step):
    mix = Mix({"new": corpus(40), "old": corpus(30, first=500, seed=2)}, {"new": 1 - share, "old": share}, rows_per_step=rows_per_step)
    for updates in range(1, 60):
        places = updates * rows_per_step
        new, old = mix.counts_at(places).tolist()
        assert new + old == places
        assert abs(old - share * places) < 1
