"""The tests of studies against numbers on paper, published tables, and simulations whose truth is known."""

import math

import numpy as np
import pytest
import torch

from trivium.studies.statistics import (
    chi2_above,
    dispersion,
    equivalence,
    noise_scale,
    poisson_quantiles,
    quantile_pairs,
    sign_test,
    t_above,
    t_quantile,
    trend,
)  # fmt: skip

TAILS = [
    (12.7062, 1, 0.025), (4.30265, 2, 0.025), (2.35336, 3, 0.05), (2.77645, 4, 0.025), (1.89458, 7, 0.05), (2.22814, 10, 0.025),
    (2.04227, 30, 0.025), (0.0, 5, 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("t", "degrees", "p"), TAILS)
def test_students_t_has_the_published_tail(t, degrees, p):
    assert t_above(t, degrees) == pytest.approx(p, abs=2e-6)
    assert t_above(-t, degrees) == pytest.approx(1 - p, abs=2e-6)
    assert t_quantile(1 - p, degrees) == pytest.approx(t, abs=2e-4)


@pytest.mark.parametrize("degrees", [1, 2, 7, 49, 499, 4000])
@pytest.mark.parametrize("share", [0.3, 0.9, 1.0, 1.2, 2.5])
def test_chi_squared_is_torchs_incomplete_gamma_function(degrees, share):
    x = torch.tensor(share * degrees, dtype=torch.float64)
    expected = float(torch.special.gammaincc(torch.tensor(degrees / 2, dtype=torch.float64), x / 2))
    assert chi2_above(float(x), degrees) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_equivalence_by_hand():
    found = equivalence([1.0, 2.0, 3.0], margin=4.0)  # mean 2, standard error 1/sqrt(3), 2 degrees of freedom
    half = 2.91999 / math.sqrt(3)
    assert (found.mean, found.low, found.high) == pytest.approx((2.0, 2 - half, 2 + half), abs=1e-4)
    assert found.p == pytest.approx(t_above(2 * math.sqrt(3), 2))
    assert found.holds
    assert not equivalence([1.0, 2.0, 3.0], margin=3.0).holds


def test_equivalence_knows_identical_and_single_pairs():
    same = equivalence([0.0, 0.0], margin=1.0)
    assert (same.mean, same.holds) == (0.0, True)
    assert not equivalence([5.0, 5.0], margin=1.0).holds
    alone = equivalence([0.1], margin=1.0)
    assert (alone.p, alone.holds) == (None, False)


def test_equivalence_is_claimed_wrongly_in_one_of_twenty():
    draw = np.random.default_rng(1)
    wrong = [equivalence(draw.normal(1.0, 1.0, 8).tolist(), margin=1.0).holds for _ in range(2000)]  # the mean is on the margin
    assert 0.03 < np.mean(wrong) < 0.07


def test_the_sign_test_by_hand():
    assert sign_test([1, 2, 3, 4, 5]) == 2 / 32
    assert sign_test([1, -1, 2, 0, 3]) == 2 * (1 + 4) / 16
    assert sign_test([0, 0]) == 1


def test_dispersion_has_the_golden_value():
    found = dispersion([0, 2, 1, 3, 0, 1, 2, 1])
    assert (found.mean, found.statistic, found.degrees) == (1.25, 6.0, 7)
    above = float(torch.special.gammaincc(torch.tensor(3.5, dtype=torch.float64), torch.tensor(3.0, dtype=torch.float64)))
    assert found.p == pytest.approx(2 * min(above, 1 - above))
    assert dispersion([0, 0, 0]).p == 1


def test_poisson_counts_pass_at_the_stated_rate():
    passed = [dispersion(np.random.default_rng(seed).poisson(5.0, 500)).p > 0.05 for seed in range(200)]
    assert 0.91 <= np.mean(passed) <= 0.99  # three standard errors about 0.95
    flat = [trend(np.random.default_rng(seed).poisson(5.0, 500)).p > 0.05 for seed in range(200)]
    assert 0.90 <= np.mean(flat) <= 0.99


@pytest.mark.parametrize("events", [3, 6, 30])
def test_few_events_are_not_found_to_clump_by_chance(events):
    draw = np.random.default_rng(events)
    counts = [np.bincount(draw.integers(156, size=events), minlength=156) for _ in range(400)]
    p_N = np.array([dispersion(each).p for each in counts])
    assert (p_N < 0.005).mean() <= 0.015  # by chi-squared it is 3 % of three events, whenever two of them meet
    assert (p_N < 0.1).mean() <= 0.15
    assert dispersion([0] * 155 + [events]).p < 0.005


def test_a_ramp_is_rejected():
    ramps = [np.random.default_rng(seed).poisson(np.linspace(0, 10, 500)) for seed in range(200)]
    assert np.mean([dispersion(ramp).p < 0.05 for ramp in ramps]) > 0.99
    assert np.mean([trend(ramp).p < 0.05 for ramp in ramps]) > 0.99


def test_clumped_counts_are_rejected_and_have_no_trend():
    draw = np.random.default_rng(2)
    clumped = draw.poisson(draw.gamma(0.5, 10.0, 500))
    assert dispersion(clumped).p < 1e-6


def test_the_trend_is_the_planted_one():
    x = np.linspace(-0.5, 0.5, 20_000)
    found = trend(np.random.default_rng(3).poisson(np.exp(1.0 + 0.8 * x)))
    assert found.slope == pytest.approx(0.8, abs=3 * found.error)
    assert found.error < 0.03
    assert trend([0, 0, 0]).p == 1
    two = trend([1, 3])  # saturated: the rates are the counts
    assert two.slope == pytest.approx(math.log(3))
    assert two.error == pytest.approx(math.sqrt(1 + 1 / 3))


def test_quantiles_of_poissons_law_by_hand():
    assert poisson_quantiles(1.0, [0.3, 0.37, 0.73, 0.74, 0.99]) == [0, 1, 1, 2, 4]  # cumulated: .368, .736, .920, .981, .996
    assert quantile_pairs([3, 0, 1, 0]) == [(0, 0), (1, 0), (1, 1), (2, 3)]


def test_the_noise_scale_has_the_golden_value():
    assert noise_scale((8, 5.0), (64, 3.0)) == pytest.approx((2.714286, 18.285714, 6.736842), abs=1e-6)
    assert noise_scale((1, 2.0), (4, 0.4))[2] == math.inf  # less than the noise: no signal is seen


def test_the_noise_scale_of_a_quadratic_bowl_is_the_known_one():
    draw, size = np.random.default_rng(5), 40
    hessian, theta = np.linspace(0.5, 2.0, size), np.ones(size)
    deviation = np.linspace(1.0, 3.0, size)

    def norm(batch: int) -> float:
        noise = draw.normal(size=(20_000, size)) * deviation / math.sqrt(batch)
        return float(((hessian * theta + noise) ** 2).sum(axis=1).mean())

    _, _, found = noise_scale((4, norm(4)), (64, norm(64)))
    assert found == pytest.approx((deviation**2).sum() / ((hessian * theta) ** 2).sum(), rel=0.05)


def test_updates_fall_with_the_batch_as_the_noise_scale_says():
    """steps(B) = fewest (1 + B_noise / B): McCandlish et al. 2018, eq. 2.11, on a bowl whose noise goes with the gradient."""
    draw, size, rate = np.random.default_rng(6), 64, 0.02  # gradient theta, noise of covariance |theta|^2 I: the scale is `size`

    def steps(batch: int) -> int:
        theta_RD = np.ones((40, size))
        start, done = (theta_RD**2).sum(), 0
        while (theta_RD**2).sum() > start / math.e:
            noise = draw.normal(size=theta_RD.shape) * np.linalg.norm(theta_RD, axis=1, keepdims=True) / math.sqrt(batch)
            theta_RD -= rate / (1 + size / batch) * (theta_RD + noise)
            done += 1
        return done

    taken = {batch: steps(batch) for batch in (8, 16, 64, 256)}
    fewest = 1 / (2 * rate - rate**2)
    for batch, number in taken.items():
        assert number == pytest.approx(fewest * (1 + size / batch), rel=0.06)


@pytest.mark.parametrize("counts", [[0, 5], [5, 0], [0, 0, 5], [0] * 40 + [1]])
def test_a_slope_that_is_infinite_has_no_p_value(counts):
    found = trend(counts)
    assert (found.error, found.p) == (math.inf, 1.0)


def test_few_counts_always_have_a_trend_or_none():
    draw = np.random.default_rng(7)
    for _ in range(200):
        assert 0 <= trend(draw.poisson(draw.random() * 3, draw.integers(1, 6)).tolist()).p <= 1


def test_poissons_law_of_a_large_mean_is_nearly_normal():
    for mean in (744.0, 5000.0, 1e6):
        low, middle, high = poisson_quantiles(mean, [0.025, 0.5, 0.975])
        assert (low, high) == pytest.approx((mean - 1.96 * mean**0.5, mean + 1.96 * mean**0.5), abs=2)
        assert middle == pytest.approx(mean, abs=1)
    assert poisson_quantiles(0.0, [0.5, 1.0]) == [0, 0]
