"""The study of order: its verdict by simulated counts, its power, and where canaries were last seen."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from trivium.studies import order
from trivium.studies.order import POWER, Arrivals, Order, ks_distance, last_place_p, order_matters, power


def test_homogeneous_counts_are_accepted_and_a_ramp_is_not():
    accepted = [not order_matters(np.random.default_rng(seed).poisson(5.0, 500).tolist()) for seed in range(200)]
    assert np.mean(accepted) >= 0.9
    rejected = [order_matters(np.random.default_rng(seed).poisson(np.linspace(0, 10, 500)).tolist()) for seed in range(50)]
    assert all(rejected)


def test_power_needs_memorised_rows():
    assert power([5] * 50) >= POWER
    assert power([0] * 49 + [1]) < POWER
    assert power([0] * 50) == 0
    assert power([3, 4]) <= 1
    assert power([1] * 50, models=20, tests=3) < power([1] * 50)


def test_forgetting_shows_in_where_canaries_were_last_seen():
    draw = np.random.default_rng(1)
    seen = np.repeat([1, 4, 16], 60)
    last = draw.integers(0, 5000, 180)
    chance = np.array([0.1, 0.5, 0.9]).repeat(60)
    alike = draw.random(180) < chance
    assert last_place_p(seen.tolist(), last.tolist(), alike.tolist()) > 0.05
    late = draw.random(180) < chance * last / 5000
    assert last_place_p(seen.tolist(), last.tolist(), late.tolist()) < 0.01


def test_being_seen_often_and_late_is_not_taken_for_being_seen_late():
    seen, last = [1] * 50 + [16] * 50, [*range(50), *range(100, 150)]
    known = [False] * 50 + [True] * 50
    assert last_place_p(seen, last, known) == 1.0


def test_the_distance_from_poissons_law_by_hand():
    assert math.isclose(ks_distance([0, 0, 1, 3]), 2.5 / math.e - 3 / 4)  # at 2, of a mean of 1


def test_the_level_holds_over_all_models_together():
    counts = np.random.default_rng(1).poisson(5.0, 200).tolist()
    assert order_matters(counts, 0.01)  # below 0.05 / 3
    assert not order_matters(counts, 0.01, models=5)
    draw = np.random.default_rng(2)
    found = [any(order_matters(draw.poisson(5.0, 50).tolist(), models=8) for _ in range(8)) for _ in range(150)]
    assert np.mean(found) < 0.11


FEW, LATE = ([1] + [0] * 38) * 4, [0] * 150 + [1, 1, 2, 3, 5, 8]  # neither has rows enough to see a ramp
ALIKE = np.random.default_rng(1).poisson(5.0, 156).tolist()


@pytest.mark.parametrize(
    ("counts", "outcome", "says"),
    [
        ([FEW], "cannot tell", "Too few rows"),
        ([ALIKE, FEW], "seen", "In none of 1 models that can tell"),
        ([LATE], "not seen", "In 1 of 1 models the order matters"),
        ([ALIKE, LATE], "not seen", "In 1 of 2 models the order matters"),
    ],
)
def test_what_deviates_is_said_also_of_a_model_with_few_memorised_rows(monkeypatch, counts, outcome, says):
    assert max(power(FEW), power(LATE)) < POWER
    trainings = [SimpleNamespace(name=str(number), parameters=1, counts=each) for number, each in enumerate(counts)]
    monkeypatch.setattr(order, "trainings_of", lambda folders, published: trainings)
    monkeypatch.setattr(Order, "_arrivals", lambda self, training: Arrivals(training, 20_000, training.counts, None, 0))
    finding = Order().find(())
    assert finding.outcome == outcome
    assert says in finding.verdict
