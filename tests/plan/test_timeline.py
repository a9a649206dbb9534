"""The simulator where its answer is known: answers of one length, and bounds that nothing can pass."""

import pytest

from tests.plan.shapes import LLAMA_8B
from trivium.plan.devices import device
from trivium.plan.sampling import Replica
from trivium.plan.timeline import Batch, asynchronous, batch_seconds, colocated, one_step_off

REPLICA = Replica.of(LLAMA_8B, device("h100"))
EQUAL = Batch(64, 500, 1e-9, 1000)
SPREAD = Batch(256, 500, 0.9, 2000)


def test_answers_of_one_length_take_that_many_steps():
    expected = 500 * REPLICA.seconds(32, 250)
    assert batch_seconds(EQUAL, REPLICA, 2, seed=1) == pytest.approx(expected, rel=1e-2)


def test_more_than_fit_wait_for_a_row():
    small = Replica(REPLICA.read_bytes, REPLICA.kv_bytes, device("rtx4090"))
    slots, many = small.slots(500), Batch(256, 500, 1e-9, 1000)
    assert 85 < slots < 128  # three rounds
    assert batch_seconds(many, small, 1, seed=1) > 2.5 * 500 * small.seconds(slots, 250)


def test_turns_add_up_and_overlap_is_the_slower_side():
    sampling = batch_seconds(EQUAL, REPLICA, 4, seed=1)
    together = colocated(EQUAL, REPLICA, 4, 8.0, switch_s=3.0)
    assert together.seconds == pytest.approx(sampling + 2.0 + 3.0)
    assert together.idle_sampling == pytest.approx(1 - sampling / together.seconds)
    slow_training = one_step_off(EQUAL, REPLICA, 4, 2, 1000.0, sync_s=4.0)
    assert slow_training.seconds == pytest.approx(500.0 + 4.0)
    assert one_step_off(EQUAL, REPLICA, 4, 2, 1.0, sync_s=4.0).seconds == pytest.approx(sampling + 4.0)


@pytest.mark.parametrize("train_s", [1.0, 20.0, 200.0])
def test_a_stream_is_no_faster_than_either_side_and_bound_by_the_slower(train_s):
    found = asynchronous(SPREAD, REPLICA, 4, 4, 4 * train_s, sync_s=0.5, lag=4)
    tokens = sum(SPREAD.lengths(SPREAD.answers, 1))
    fastest = tokens / (4 * REPLICA.tokens_per_s(REPLICA.slots(500), 100))
    assert found.seconds >= max(train_s, fastest * 0.8)
    if train_s == 200.0:
        assert found.seconds == pytest.approx(train_s + 0.5, rel=1e-6)
        assert found.idle_training == pytest.approx(0.5 / 200.5, rel=1e-3)


def test_a_stream_holds_sampling_up_before_data_grow_old():
    """With so slow a trainer every row waits: what is learned from was begun at most as many updates ago as batches may wait."""
    for lag in (0, 1, 3):
        found = asynchronous(SPREAD, REPLICA, 4, 4, 4 * 1000.0, sync_s=0.0, lag=lag)
        assert found.most_lag <= lag + 1
        assert found.mean_lag >= lag - 1


def test_the_same_seed_gives_the_same_and_another_nearly():
    def found(seed):
        return asynchronous(SPREAD, REPLICA, 4, 4, 40.0, sync_s=0.5, seed=seed).seconds

    assert found(1) == found(1)
    assert found(1) == pytest.approx(found(2), rel=0.2)


def test_lengths_have_the_mean_and_are_cut():
    lengths = Batch(1, 500, 0.9, 100_000).lengths(20_000, 1)
    assert sum(lengths) / len(lengths) == pytest.approx(500, rel=0.03)
    assert max(SPREAD.lengths(20_000, 1)) == 2000
    assert min(lengths) >= 1
