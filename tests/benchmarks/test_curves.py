import pytest

from benchmarks.contest import Contestant
from benchmarks.curves import Curve, work


def curve(measured, *, seconds=10.0, is_ours=True, name="ours", seed=1):
    steps = measured[-1][0]
    contestant = Contestant(name, (), {"rows": 2}, is_ours)
    return Curve(contestant, 1.0, seed, steps, [seconds] * steps, measured)


def test_a_curve_reaches_a_value_on_the_line_between_two_measurements():
    assert curve([(2, 3.0), (4, 2.0)]).seconds_to(2.25) == pytest.approx(35.0)


def test_a_curve_that_never_gets_there_says_so():
    assert curve([(2, 3.0), (4, 2.0)]).seconds_to(1.9) is None


def test_updates_that_compile_count_as_long_as_the_usual_one():
    slow = curve([(4, 2.0)], seconds=1.0)
    slow.seconds[:2] = [60.0, 5.0]
    assert slow.points() == [(4, 4.0, 2.0)]


def test_the_race_compares_the_time_to_the_peers_end_seed_by_seed():
    raced = []
    for seed, target in ((1, 2.0), (2, 2.5)):
        raced.append(curve([(2, 4.0), (4, target)], is_ours=False, name="peer", seed=seed))
        raced.append(curve([(2, target), (4, 1.0)], seed=seed))
    found = work(raced, 1.0, "peer", {"depth": 1, "width": 8, "vocab_size": 9, "seq_len": 16})
    assert [line.value for line in found.lines] == [40.0, 20.0]
    assert found.ratio == 2.0


def test_without_a_peer_there_is_only_what_each_ends_with():
    found = work([curve([(4, 2.0)])], 1.0, None, {"depth": 1, "width": 8, "vocab_size": 9, "seq_len": 16})
    assert (found.ratio, found.fields()["ours"]) == (None, None)
    assert "no peer in the race" in found.text()
    assert "2.0000" in found.text()


def test_ours_that_is_worse_at_the_end_has_no_time():
    raced = [curve([(4, 2.0)], is_ours=False, name="peer"), curve([(4, 2.1)])]
    found = work(raced, 1.0, "peer", {"depth": 1, "width": 8, "vocab_size": 9, "seq_len": 16})
    assert found.best(is_ours=True) is None
    assert "0 of 1 seeds got there" in found.text()
