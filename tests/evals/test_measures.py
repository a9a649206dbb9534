"""From items to measures, by hand."""

import math

import numpy as np
import pytest

from trivium.core.errors import DataError
from trivium.evals.measures import by_group, difference, measured, measures_in, values_of


def rows(*scores, group=""):
    return [{"item": number, "group": group, "scores": each} for number, each in enumerate(scores)]


def test_a_share_has_its_standard_error_and_interval():
    found = measured(rows(*({"acc": float(value)} for value in (1, 1, 1, 0))), "acc")
    assert found["value"] == 0.75
    assert found["stderr"] == pytest.approx(math.sqrt(0.75 * 0.25 / 3))
    assert (found["low"], found["high"]) == (pytest.approx(0.3006, abs=1e-4), pytest.approx(0.9544, abs=1e-4))  # Wilson
    assert found["n"] == 4


def test_a_ratio_is_that_of_the_sums():
    found = measured(rows({"bits_per_byte": [10.0, 10]}, {"bits_per_byte": [10.0, 30]}), "bits_per_byte")
    assert found["value"] == pytest.approx(20 / 40)
    assert np.mean(values_of(rows({"b": [10.0, 10]}, {"b": [10.0, 30]}), "b")) == pytest.approx(0.5)


def test_the_spread_of_a_ratio_is_none_where_all_items_have_it():
    found = measured(rows({"b": [2.0, 4]}, {"b": [5.0, 10]}, {"b": [1.0, 2]}), "b")
    assert (found["value"], found["stderr"]) == (pytest.approx(0.5), pytest.approx(0))


def test_a_perplexity_is_exp_of_the_mean():
    found = measured(rows({"perplexity": 1.0}, {"perplexity": 3.0}), "perplexity")
    assert found["value"] == pytest.approx(math.exp(2))
    assert found["stderr"] == pytest.approx(math.exp(2) * 1.0)  # the mean's standard error is 1
    byte = measured(rows({"byte_perplexity": [2.0, 2]}, {"byte_perplexity": [2.0, 2]}), "byte_perplexity")
    assert byte["value"] == pytest.approx(math.e)


@pytest.mark.parametrize(
    ("wins", "value", "low", "high"),
    [(0, 0.5, 0.236593, 0.763407), (1, 0.55, 0.27367, 0.798577)],  # Wilson of 5 and of 5.5 in 10: another win tells no less
)
def test_nothing_but_ties_is_no_certain_tie(wins, value, low, high):
    found = measured(rows(*({"win_rate": 1.0 if item < wins else 0.5} for item in range(10))), "win_rate")
    assert (found["value"], found["low"], found["high"]) == pytest.approx((value, low, high), abs=1e-5)


def test_grades_that_are_all_the_same_have_no_interval():
    assert measured(rows(*({"grade": 7.0} for _ in range(20))), "grade") == {"value": 7, "low": None, "high": None, "n": 20, "stderr": 0}


def test_one_item_has_no_interval():
    assert measured(rows({"nats": 2.0}), "nats") == {"value": 2.0, "low": None, "high": None, "n": 1, "stderr": None}


def test_models_are_compared_item_by_item():
    a, b = rows(*({"acc": 1.0} for _ in range(40))), rows(*({"acc": float(i % 4 > 0)} for i in range(40)))
    found = difference(a, b, "acc", seed=1)
    assert found["difference"] == pytest.approx(0.25)
    assert 0 < found["low"] < 0.25 < found["high"] < 0.5
    same, half = difference(a, a, "acc", seed=1), 1.959964 * math.sqrt(2 / 42 / 42)  # one more pair in each direction: 2 of 42
    assert (same["difference"], same["low"], same["high"], same["n"]) == (0, pytest.approx(-half), pytest.approx(half), 40)
    back = difference(b, a, "acc", seed=1)
    assert (back["difference"], back["low"], back["high"]) == pytest.approx((-0.25, -found["high"], -found["low"]))


def test_an_item_without_a_measure_does_not_count_for_it():
    some = rows({"grade": 1.0}, {"grade": 3.0, "grade_2": 5.0})
    assert measures_in(some) == ["grade", "grade_2"]
    assert (measured(some, "grade_2")["value"], measured(some, "grade_2")["n"]) == (5, 1)


def test_groups_are_sorted_and_absent_where_there_is_none():
    one = rows({"acc": 1.0}, group="b") + rows({"acc": 0.0}, group="a")
    assert list(by_group(one)) == ["a", "b"]
    assert by_group(rows({"acc": 1.0})) == {}
    assert measures_in(one) == ["acc"]


def test_a_difference_is_of_the_items_that_both_have():
    a = rows({"grade": 1.0, "grade_2": 5.0}, {"grade": 3.0}, {"grade": 2.0, "grade_2": 4.0})
    b = rows({"grade": 1.0}, {"grade": 3.0, "grade_2": 1.0}, {"grade": 2.0, "grade_2": 1.0})[::-1]
    same = difference(a, b, "grade", seed=1)
    assert (same["difference"], same["n"]) == (0, 3)
    assert -2 <= same["low"] == -same["high"] < -1  # grades of 1 to 3 differ by 2 at most
    found = difference(a, b, "grade_2", seed=1)
    assert (found["difference"], found["n"]) == (3.0, 1)
    with pytest.raises(DataError, match="'acc': no item has it from both models"):
        difference(a, b, "acc", seed=1)
