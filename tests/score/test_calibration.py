import numpy as np
import pytest

from trivium.score.calibration import calibrate, calibration_error
from trivium.score.ranking.ties import sigmoid


def test_probabilities_are_sigmoids_without_overflow():
    assert sigmoid(np.array([0.0, 0.7, -2000.0, 2000.0])) == pytest.approx([0.5, 1 / (1 + np.exp(-0.7)), 0, 1])


def test_bins_and_their_error_by_hand():
    # 0.5 to 1 in tenths: two predictions of 0.52 (one true), four of 0.9 (all true), one of 1.0 (a draw)
    bins = calibrate([0.52, 0.52, 0.9, 0.9, 0.9, 0.9, 1.0], [1, 0, 1, 1, 1, 1, 0.5], range(7), lowest=0.5)
    assert [(each.low, each.high, each.n) for each in bins] == [
        (0.5, pytest.approx(0.55), 2), (pytest.approx(0.9), pytest.approx(0.95), 4), (pytest.approx(0.95), 1.0, 1),
    ]  # fmt: skip
    assert [each.observed for each in bins] == [0.5, 1, 0.5]
    assert calibration_error(bins) == pytest.approx((2 * 0.02 + 4 * 0.1 + 0.5) / 7)
    assert all(each.observed_low <= each.observed <= each.observed_high for each in bins)


def test_what_comes_true_as_often_as_predicted_has_hardly_an_error():
    rng = np.random.default_rng(0)
    predicted = rng.uniform(0, 1, 40_000)
    true = (rng.uniform(0, 1, 40_000) < predicted).astype(float)
    assert calibration_error(calibrate(predicted, true, range(40_000), lowest=0.0)) < 0.01
    assert calibration_error(calibrate(np.sqrt(predicted), true, range(40_000), lowest=0.0)) == pytest.approx(2 / 3 - 1 / 2, abs=0.01)
