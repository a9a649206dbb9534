import math

import pytest

from trivium.report import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (950, "950"),
        (9500, "9,500"),
        (12_345, "12.3K"),
        (999_960, "1.0M"),
        (12_345_678, "12.3M"),
        (4.1e9, "4.1B"),
        (3e15, "3,000T"),
        (-20_000, "-20.0K"),
    ],
)
def test_counts_have_three_digits_and_a_letter(value, text):
    assert units.count(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(312, "312 bytes"), (4100, "4.1 kB"), (4.1e9, "4.1 GB"), (999_960, "1.0 MB"), (230e6, "230 MB")]
)
def test_sizes_are_decimal(value, text):
    assert units.size(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3599.7, "1 h"),
        (7500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
        (-75, "-1 min 15 s"),
    ],
)
def test_times_have_their_two_largest_units(seconds, text):
    assert units.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.713, "0.713"),
        (0.0031, "0.0031"),
        (12.534, "12.53"),
        (123.45, "123.5"),
        (1234, "1,234"),
        (3e-5, "3e-05"),
        (-0.5, "-0.500"),
    ],
)
def test_measured_numbers_have_the_decimals_their_size_deserves(value, text):
    assert units.number(value) == text


def test_shares_are_per_cent_and_work_is_flop():
    assert units.share(0.1234) == "12.3 %"
    assert units.flops(3.2e15) == "3.2 PFLOP"


@pytest.mark.parametrize("write", [units.count, units.size, units.duration, units.number, units.share, units.flops])
@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_what_is_not_a_number_is_a_dash(write, value):
    assert write(value) == units.NONE
