import math

import numpy as np
import pytest

from trivium.core.errors import DataError
from trivium.core.seeds import generator
from trivium.report.intervals import (
    clustered_share_interval,
    curve_bootstrap,
    mean_interval,
    paired_bootstrap,
    ratio_bootstrap,
    share_interval,
    t_95,
)


def test_mean_interval_of_one_to_five_by_hand():
    # mean 3, s^2 = (4+1+0+1+4)/4 = 2.5, t(4) = 2.776: half = 2.776 * sqrt(2.5 / 5) = 1.963
    assert mean_interval([1, 2, 3, 4, 5]) == pytest.approx((3, 3 - 1.9632, 3 + 1.9632), abs=1e-3)


def test_one_value_has_a_mean_and_no_interval():
    assert mean_interval([0.5]) == (0.5, None, None)


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(1, 12.7062), (10, 2.2281), (11, 2.2010), (20, 2.0860), (30, 2.0423), (120, 1.9799), (10_000, 1.9602)]
)
def test_t_quantiles_are_those_of_the_printed_tables(degrees, quantile):
    assert t_95(degrees) == pytest.approx(quantile, abs=6e-5)


def test_wilson_interval_of_half_of_ten_by_hand():
    # z^2 = 3.8415; centre (0.5 + 0.19207) / 1.38415 = 0.5; half = 1.96 / 1.38415 * sqrt(0.025 + 0.0096037) = 0.26341
    assert share_interval(5, 10) == pytest.approx((0.5, 0.23659, 0.76341), abs=1e-4)


def test_wilson_interval_of_no_success_starts_at_zero_and_ends_at_z2_over_n_plus_z2():
    share, low, high = share_interval(0, 10)
    assert (share, low) == (0, 0)
    assert high == pytest.approx(3.8415 / 13.8415, abs=1e-4)


def test_wilson_intervals_of_a_share_and_of_its_opposite_mirror_each_other():
    _, low, high = share_interval(3, 17)
    _, opposite_low, opposite_high = share_interval(14, 17)
    assert (low, high) == pytest.approx((1 - opposite_high, 1 - opposite_low))


def test_clusters_of_one_trial_are_hardly_more_than_trials():
    _, low, high = clustered_share_interval([1.0] * 60 + [0.0] * 40, [1] * 100)
    assert (low, high) == pytest.approx(share_interval(60 * 99 / 100, 99)[1:], abs=1e-9)  # 99: the variance divides by n - 1


def test_trials_that_always_agree_within_their_cluster_are_one_trial():
    assert clustered_share_interval([10, 0] * 50, [10] * 100) == pytest.approx(share_interval(49.5, 99), abs=1e-9)


def test_clusters_that_all_give_the_same_count_one_trial_each():
    assert clustered_share_interval([5, 5, 5], [5, 5, 5]) == pytest.approx(share_interval(3, 3))


def test_clusters_that_balance_each_other_do_not_count_as_more_trials_than_there_are():
    assert clustered_share_interval([2, 2, 2, 3], [4, 4, 4, 4]) == pytest.approx(share_interval(9, 16))


def test_the_clustered_interval_agrees_with_resampling_clusters():
    draw = np.random.default_rng(1)
    trials = draw.integers(1, 8, 300)
    successes = draw.binomial(trials, draw.beta(2, 1, 300))
    share, low, high = clustered_share_interval(successes.tolist(), trials.tolist())
    chosen = draw.integers(300, size=(4000, 300))
    resampled = np.quantile(successes[chosen].sum(1) / trials[chosen].sum(1), [0.025, 0.975])
    assert (low, high) == pytest.approx(resampled.tolist(), abs=0.006)
    assert share == pytest.approx(successes.sum() / trials.sum())


@pytest.mark.parametrize(
    ("a", "b", "low", "high"),
    [  # by hand, with z = 1.96: the pairs and two more, one in each direction
        ([0.0] * 20, [0.0] * 20, -0.125991, 0.125991),  # z sqrt(2 / 22) / sqrt(22)
        ([1.0] * 18 + [0.0] * 2, [1.0] * 18 + [0.0] * 2, -0.125991, 0.125991),
        ([1.0] * 5, [0.0] * 5, 0.195836, 1.0),  # 5 / 7 - z sqrt(1 - 25 / 49) / sqrt(7); above 1 nothing is
        ([2.0, 3.0, 5.0], [1.0, 2.0, 4.0], -1.658644, 2.858644),  # 3 / 5 -+ z sqrt(35 / 5 - 0.36) / sqrt(5): values of 1 to 5
        ([1.0], [0.0], -0.733536, 1.0),
    ],
)
def test_pairs_that_all_differ_alike_do_not_make_sure(a, b, low, high):
    assert paired_bootstrap(a, b, seed=1) == (pytest.approx(a[0] - b[0]), pytest.approx(low, abs=1e-5), pytest.approx(high, abs=1e-5))


def test_the_interval_is_the_same_when_values_are_measured_in_another_unit():
    a, b = [2.0, 3.0, 5.0, 9.0], [1.0, 2.0, 4.0, 7.0]
    whole, tenths = paired_bootstrap(a, b, seed=1), paired_bootstrap([10 * x for x in a], [10 * x for x in b], seed=1)
    assert tenths == pytest.approx(tuple(10 * end for end in whole))


@pytest.mark.parametrize("n", [5, 20, 200])
def test_an_interval_of_pairs_that_rarely_differ_covers(n):
    """Drawn again alone, such pairs gave 9 to 90 % (the first of these 10 %): most of the time nothing is seen in one direction."""
    draw = np.random.default_rng(1)
    for expected in ((0.1, 0.0), (0.5, 0.0), (1.0, 0.5), (2.0, 1.0), (1.0, 1.0)):  # pairs that differ upwards and downwards
        chances = np.array([*expected, n - sum(expected)]) / n
        counts = draw.multinomial(n, chances, size=400)
        covered = 0
        found: dict[tuple[int, ...], tuple[float, float, float]] = {}
        for up, down, same in map(tuple, counts.tolist()):
            if (up, down) not in found:
                a, b = [1.0] * up + [0.0] * (down + same), [0.0] * up + [1.0] * down + [0.0] * same
                found[up, down] = paired_bootstrap(a, b, seed=1, resamples=1000)
            _, low, high = found[up, down]
            covered += low <= chances[0] - chances[1] <= high
        assert covered / len(counts) > 0.92, expected


@pytest.mark.parametrize("kind", ["shares", "numbers", "few numbers"])
def test_what_differs_often_has_the_percentiles_and_nothing_else(kind):
    draw = np.random.default_rng(2)
    for n in (5, 12, 60):
        a, b = (draw.normal(size=n), draw.normal(size=n)) if kind != "shares" else (draw.permuted(np.arange(2 * n) % 2).reshape(2, n))
        if kind == "shares" and (a != b).sum() < 5:
            a = np.concatenate([a, [1, 1, 0, 0, 0]])
            b = np.concatenate([b, [0, 0, 1, 1, 1]])
        if kind == "few numbers":
            a, b = a[:3], b[:3]
        difference = a - b
        again = difference[generator(7, "paired_bootstrap").integers(len(difference), size=(500, len(difference)))].mean(axis=1)
        expected = (difference.mean(), *np.quantile(again, [0.025, 0.975]))
        assert paired_bootstrap(a.tolist(), b.tolist(), seed=7, resamples=500) == pytest.approx(expected)


def test_bootstrap_of_many_pairs_agrees_with_the_normal_interval():
    a = [math.sin(index) for index in range(400)]
    difference, low, high = paired_bootstrap(a, [0.0] * 400, seed=1, resamples=4000)
    mean, normal_low, normal_high = mean_interval(a)
    assert (difference, low, high) == pytest.approx((mean, normal_low, normal_high), abs=0.008)


def test_bootstrap_depends_on_nothing_but_its_arguments():
    pairs = [0.1, 0.9, 0.4, 0.2], [0.0, 1.0, 0.3, 0.3]
    assert paired_bootstrap(*pairs, seed=3, resamples=500) == paired_bootstrap(*pairs, seed=3, resamples=500)


def test_the_bootstrap_of_a_ratio_by_hand_and_beside_the_mean():
    assert ratio_bootstrap([3.0, 0.0, 1.0], [4.0, 2.0, 2.0], 1)[0] == 4 / 8
    assert ratio_bootstrap([2.0, 6.0], [4.0, 12.0], 1) == pytest.approx(share_interval(1, 2))  # every item has the same ratio
    assert ratio_bootstrap([6.0, 2.0] * 5, [6.0, 2.0] * 5, 1) == pytest.approx(share_interval(10, 10))
    draw = np.random.default_rng(1)
    won = draw.integers(0, 2, 400).astype(float)
    value, low, high = ratio_bootstrap((3 * won).tolist(), [3.0] * 400, 1)
    assert (value, low, high) == pytest.approx(mean_interval(won.tolist()), abs=0.01)


def test_what_cannot_be_measured_is_refused_with_the_reason():
    with pytest.raises(DataError, match="there are no values"):
        mean_interval([])
    with pytest.raises(DataError, match="value 2 of 3 is nan"):
        mean_interval([1.0, math.nan, 2.0])
    with pytest.raises(DataError, match="11 successes of 10"):
        share_interval(11, 10)
    with pytest.raises(DataError, match="a pair needs both"):
        paired_bootstrap([1.0], [1.0, 2.0], seed=1)


def test_each_point_of_resampled_curves_has_the_interval_of_its_values():
    # a share of 0.3 of 400: its standard error is sqrt(0.3 * 0.7 / 400) = 0.0229; the second point is the same for all
    curves = np.stack([np.repeat([1.0, 0.0], [120, 280]), np.full(400, 2.0)], axis=1)
    mean, low, high = curve_bootstrap(curves, 1)
    assert mean == pytest.approx([0.3, 2])
    assert (low[0], high[0]) == pytest.approx((0.3 - 1.96 * 0.0229, 0.3 + 1.96 * 0.0229), abs=0.005)
    assert (low[1], high[1]) == (2, 2)
    assert [part.tolist() for part in curve_bootstrap(curves[:1], 1)] == [[1, 2]] * 3
