import math

import pytest

from trivium.report.scale import nice_scale


def test_ticks_stand_at_nice_numbers_around_the_values():
    scale = nice_scale([0.3, 9.1])
    assert scale.ticks == (0, 5, 10)
    assert [scale.label(tick) for tick in scale.ticks] == ["0", "5", "10"]


def test_a_tight_scale_ends_at_the_data():
    scale = nice_scale([1, 120], is_tight=True)
    assert (scale.low, scale.high, scale.ticks) == (1, 120, (50, 100))


def test_ends_of_the_scale_are_zero_and_one():
    scale = nice_scale([2, 4])
    assert (scale(scale.low), scale(scale.high)) == (0, 1)


@pytest.mark.parametrize(
    "values", [[], [0], [5, 5], [math.nan, math.inf], [1e-320], [1e308, -1e308], [1e16, 1e16 + 2], [-1e299, 1e299], [1e-249, 2e-249]]
)
def test_every_input_gives_an_axis(values):
    scale = nice_scale(values)
    assert scale.low < scale.high
    assert 2 <= len(scale.ticks) <= 12
    assert all(scale.label(tick) for tick in scale.ticks)


def test_labels_have_just_the_decimals_that_tell_neighbours_apart():
    assert [nice_scale([1.4, 1.46]).label(tick) for tick in (1.4, 1.42)] == ["1.40", "1.42"]
    assert nice_scale([0, 3e-5]).label(1e-5) == "1e-5"
    assert nice_scale([0, 2_000_000]).label(500_000) == "500K"
