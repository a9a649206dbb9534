"""The law of scaling: published numbers, planted constants, and L-BFGS, which the published fits used."""

import math

import numpy as np
import pytest
import torch

from trivium.core.errors import ConfigError, DataError
from trivium.plan.law import PUBLISHED, REFITTED, Law
from trivium.plan.repeated_data import TOKENS_LAST, loss, plan, useful_parameters, worth
from trivium.studies.scaling_law import Runs, bootstrap, fit, huber, isoflop, residuals


def grid(law, *, noise=0.0, sizes=8, seed=1):
    N, D = (values.ravel() for values in np.meshgrid(np.geomspace(3e7, 1e10, sizes), np.geomspace(1e9, 3e11, 6)))
    factor = np.exp(noise * np.random.default_rng(seed).normal(size=len(N)))
    return Runs(N, D, law(N, D) * factor)


@pytest.mark.parametrize(
    ("law", "flops", "parameters", "tokens"),
    [
        (PUBLISHED, 5.76e23, 3.218986e10, 2.982306e12),
        (REFITTED, 5.76e23, 7.224870e10, 1.328744e12),
        (PUBLISHED, 1e18, 80_581_984, 2.068287e9),
        (REFITTED, 1e18, 80_531_862, 2.069574e9),
    ],
)
def test_the_best_use_of_a_budget_is_the_published_one(law, flops, parameters, tokens):
    assert law.optimum(flops) == pytest.approx((parameters, tokens), rel=1e-6)
    best, read = law.optimum(flops)
    assert best * read * 6 == pytest.approx(flops)
    around = [float(law(best * factor, read / factor)) for factor in (0.99, 1.0, 1.01)]
    assert around[1] == min(around)


def test_the_loss_of_chinchilla_is_that_of_both_laws():
    assert float(PUBLISHED(70e9, 1.4e12)) == pytest.approx(1.9366, abs=5e-5)
    assert float(REFITTED(70e9, 1.4e12)) == pytest.approx(1.9739, abs=5e-5)


def test_a_fit_recovers_planted_constants():
    runs = grid(REFITTED)
    found = fit(runs)
    assert (found.a, found.b) == pytest.approx((REFITTED.a, REFITTED.b), abs=1e-3)
    np.testing.assert_allclose([found.E, found.A, found.B], [REFITTED.E, REFITTED.A, REFITTED.B], rtol=2e-2)
    assert np.abs(residuals(runs, found)).max() < 1e-4


def test_intervals_of_noisy_runs_hold_what_was_planted():
    runs = grid(REFITTED, noise=0.01)
    law = fit(runs)
    laws = bootstrap(runs, law, seed=1)
    for name in ("a", "b"):
        low, high = np.quantile([getattr(each, name) for each in laws], [0.1, 0.9])
        assert low <= getattr(REFITTED, name) <= high
    assert [each.a for each in bootstrap(runs, law, seed=1, resamples=5)] == [each.a for each in bootstrap(runs, law, seed=1, resamples=5)]


def test_no_fit_by_l_bfgs_is_better():
    runs = grid(Law(1.7, 300.0, 900.0, 0.33, 0.31), noise=0.01, sizes=5)
    law = fit(runs)
    log_N, log_D, log_L = (torch.tensor(np.log(values)) for values in (runs.parameters, runs.tokens, runs.loss))
    theta = torch.tensor([math.log(1.5), 6.0, 7.0, 0.4, 0.4], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([theta], max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-12, tolerance_change=1e-14)

    def objective():
        optimizer.zero_grad()
        terms = torch.stack([theta[0].expand_as(log_N), theta[1] - theta[3] * log_N, theta[2] - theta[4] * log_D])
        total = torch.nn.functional.huber_loss(torch.logsumexp(terms, 0), log_L, reduction="sum", delta=1e-3)
        total.backward()
        return total

    optimizer.step(objective)
    theirs, ours = float(objective().detach()), float(huber(residuals(runs, law)).sum())
    assert ours <= theirs * (1 + 1e-6)
    assert theirs == pytest.approx(ours, rel=0.05)  # both are near the same bottom


def test_the_huber_loss_is_quadratic_and_then_linear():
    assert huber(np.array([0.0, 0.5, -1.0, 3.0]), 1.0).tolist() == [0.0, 0.125, 0.5, 2.5]


def test_isoflop_gives_the_power_of_the_law():
    budgets = np.repeat(np.geomspace(1e19, 1e21, 4), 9)
    best = np.array([REFITTED.optimum(flops)[0] for flops in budgets])
    N = best * np.tile(np.geomspace(0.5, 2, 9), 4)
    D = budgets / 6 / N
    found = isoflop(budgets, N, REFITTED(N, D))
    assert found.slope == pytest.approx(REFITTED.b / (REFITTED.a + REFITTED.b), abs=2e-3)
    assert found.parameters == pytest.approx([REFITTED.optimum(flops)[0] for flops in found.flops], rel=0.02)


def test_budgets_that_say_nothing_are_refused():
    with pytest.raises(DataError, match="0 budgets have 3 sizes or more"):
        isoflop(np.array([1e18, 1e19, 1e20]), np.array([1e6, 1e7, 1e8]), np.array([3.0, 2.0, 1.0]))


@pytest.mark.parametrize(
    ("N", "D", "L", "message"),
    [
        ([1e6] * 5, [1e8] * 5, [3.0] * 5, "5 runs; the law has 5 constants and needs 6"),
        ([1e6, 2e6] * 3, [1e8, 2e8, 3e8] * 2, [3.0] * 6, "one or two numbers of parameters"),
        ([1e6, 2e6, 3e6] * 2, [1e8, 2e8, 3e8] * 2, [3.0, 2.0, 1.0, 0.0, 1.0, 1.0], "'loss' of run 4 is not above 0"),
    ],
)
def test_runs_that_no_law_fits_are_refused(N, D, L, message):
    with pytest.raises(DataError, match=message):
        Runs(np.array(N), np.array(D), np.array(L))


def test_repeated_text_is_worth_less_and_less():
    assert [round(float(worth(1, 1 + repeats, 15.4)), 6) for repeats in (0, 1, 3, 15)] == [1.0, 1.968224, 3.725878, 10.585577]
    assert float(worth(1, 1e9, 15.4)) == pytest.approx(16.4)
    assert float(worth(1, 0.5, 15.4)) == 0.5
    assert float(worth(1, 4, TOKENS_LAST)) > 0.93 * 4  # up to four epochs are nearly as good as new text


def test_the_size_that_text_can_use_is_the_one_for_which_it_is_best():
    N = useful_parameters(REFITTED, 1e11)
    assert REFITTED.optimum(6 * N * 1e11) == pytest.approx((N, 1e11))


def test_a_plan_without_a_limit_is_the_optimum_and_with_one_reads_text_again():
    free = plan(REFITTED, 1e22)
    assert (free.parameters, free.tokens) == pytest.approx(REFITTED.optimum(1e22))
    short = plan(REFITTED, 1e22, unique=free.tokens / 10)
    assert short.epochs == pytest.approx(short.tokens / (free.tokens / 10))
    assert 4 < short.epochs < 20
    assert short.loss > free.loss
    assert 6 * short.parameters * short.tokens == pytest.approx(1e22)
    around = [float(loss(REFITTED, short.parameters * f, short.tokens / f, free.tokens / 10)) for f in (0.9, 1.0, 1.1)]
    assert min(around) == around[1]
    assert plan(REFITTED, 1e22, unique=2 * free.tokens).epochs == pytest.approx(0.5)


@pytest.mark.parametrize(("flops", "unique"), [(0.0, 1e9), (math.inf, 1e9), (1e20, 0.0)])
def test_a_budget_is_above_0(flops, unique):
    with pytest.raises(ConfigError, match="both are above 0"):
        plan(REFITTED, flops, unique)
