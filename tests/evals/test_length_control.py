"""Length control: what the formula says of made judges."""

import numpy as np
import pytest

from trivium.core.errors import DataError
from trivium.evals.length_control import Judged, interval, judged, length_controlled

rng = np.random.default_rng(3)
SIZE = 4000
LONGER = rng.normal(0, 300, SIZE)
GAMMA = rng.normal(size=SIZE)
GAMMA = (GAMMA - GAMMA.mean()) / GAMMA.std()


def made(theta: float, phi: float, psi: float, shift: float = 0.0, *, is_sure: bool = True) -> Judged:
    """Verdicts of a judge that follows the formula; not sure: its probabilities."""
    longer = LONGER + shift
    chance = 1 / (1 + np.exp(-(theta + phi * np.tanh(longer / longer.std()) + psi * GAMMA)))
    return Judged((rng.random(SIZE) < chance).astype(float) if is_sure else chance, longer)


def test_the_model_against_itself_is_50():
    same = judged([0.5] * 50, [7] * 50, [7] * 50)
    found = length_controlled({"same": same})["same"]
    assert (same.win_rate, found.win_rate, found.phi) == (50, pytest.approx(50), 0)


def test_a_judge_that_prefers_only_length_is_corrected():
    longer = made(0.0, 2.0, 0.0, shift=400)  # nearly always longer
    found = length_controlled({"long": longer}, GAMMA)["long"]
    assert longer.win_rate > 75
    assert found.win_rate == pytest.approx(50, abs=6)
    assert found.phi == pytest.approx(2.0, abs=0.4)


def test_exchanging_the_sides_turns_the_win_rate_round():
    one = made(0.7, 1.0, 0.5)
    other = Judged(1 - one.preferred_N, -one.longer_N)
    found = length_controlled({"a": one}, GAMMA)["a"]
    back = length_controlled({"a": other}, GAMMA)["a"]
    assert back.win_rate == pytest.approx(100 - found.win_rate, abs=1e-6)


def test_the_parameters_that_made_the_preferences_are_found():
    found = length_controlled({"a": made(0.8, -0.5, 1.5)}, GAMMA)["a"]
    assert (found.theta, found.phi, found.psi) == (pytest.approx(0.8, abs=0.1), pytest.approx(-0.5, abs=0.2), pytest.approx(1.5, abs=0.1))
    expected = 100 * np.mean(1 / (1 + np.exp(-(0.8 + 1.5 * GAMMA))))
    assert found.win_rate == pytest.approx(expected, abs=2)


def test_difficulties_are_found_with_the_models():
    models = {f"m{i}": made(0.3 * i - 1, 1.0, 1.0 + 0.1 * i, is_sure=False) for i in range(12)}
    free, known = length_controlled(models), length_controlled(models, GAMMA)
    for name in models:
        assert free[name].win_rate == pytest.approx(known[name].win_rate, abs=1)


def test_a_single_model_has_an_interval():
    one = Judged(made(0.8, 1.0, 0.0).preferred_N[:200], LONGER[:200])
    share, low, high = interval(one, seed=1, resamples=200)
    assert low < share < high
    assert (share, low, high) == interval(one, seed=1, resamples=200)
    assert share == pytest.approx(1 / (1 + np.exp(-0.8)), abs=0.12)


@pytest.mark.parametrize(
    ("preferred", "lengths", "says"), [([0.5], [1, 2], "one each is needed"), ([1.5], [1], "between 0"), ([], [], "one each")]
)
def test_what_cannot_be_fitted_is_named(preferred, lengths, says):
    with pytest.raises(DataError, match=says):
        judged(preferred, lengths, [1] * len(preferred))
