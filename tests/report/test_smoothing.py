import math

from trivium.core.seeds import generator
from trivium.report.smoothing import bin_means, decimate, is_noisy, smooth


def test_a_straight_line_stays_straight_in_the_middle():
    points = [(float(x), 2.0 * x) for x in range(200)]
    assert all(abs(after[1] - before[1]) < 1e-9 for before, after in list(zip(points, smooth(points), strict=True))[1:190])


def test_a_value_that_is_not_finite_stays_a_gap_and_spoils_no_neighbour():
    smoothed = smooth([(0.0, 1.0), (1.0, math.nan), (2.0, 3.0)])
    assert math.isnan(smoothed[1][1])
    assert [y for _, y in smoothed[::2]] == [1.0, 3.0]


def test_noise_is_noisy_and_a_schedule_is_not():
    noise = generator(1, "test").normal(size=300)
    assert is_noisy([(float(step), 0.01 * step + value) for step, value in enumerate(noise)])
    assert not is_noisy([(float(step), min(step, 300.0 - step)) for step in range(300)])


def test_decimation_is_small_and_keeps_the_spike():
    points = [(float(x), 1000.0 if x == 4321 else math.sin(x)) for x in range(10_000)]
    kept = decimate(points, buckets=100)
    assert len(kept) <= 200
    assert (4321.0, 1000.0) in kept


def test_decimation_keeps_gaps():
    points = [(float(x), math.nan if 5000 <= x < 6000 else 1.0) for x in range(10_000)]
    assert decimate(points, buckets=100).count(None) == 10


def test_bins_hold_equal_shares_in_order_of_x():
    assert bin_means([(3.0, 30.0), (1.0, 10.0), (2.0, 20.0), (4.0, math.inf), (4.0, 40.0)], num_bins=2) == [(1.5, 15.0), (3.5, 35.0)]
    assert bin_means([]) == []
