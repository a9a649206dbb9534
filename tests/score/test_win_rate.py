"""AlpacaEval's win rates: the mean as published, and with lengths taken out."""

import numpy as np
import pytest

from trivium.core.types import Match, Message
from trivium.report.intervals import share_interval
from trivium.score.ranking import tabulate, win_rates
from trivium.score.ranking.ties import sigmoid
from trivium.score.ranking.win_rate import controlled_interval


def judged(gap_of, *, seed: int = 1, prompts: int = 300, model: str = "m", size: int = 30) -> list[Match]:
    draw, found = np.random.default_rng(seed), []
    for number in range(prompts):
        own, base = int(draw.integers(5, size)), int(draw.integers(5, 30))
        score = float(sigmoid(np.array(gap_of(own - base, number))))
        found.append(Match((model, "base"), score, (Message("user", f"{number}"),), ("x" * own, "y" * base)))
    return found


def test_the_raw_rate_is_the_mean_and_the_baseline_is_found():
    table = tabulate([Match(("a", "base"), score) for score in (0.2, 0.4)] + [Match(("base", "b"), 0.1)])
    assert table.baseline == "base"
    assert [(rate.model, pytest.approx(rate.raw)) for rate in win_rates(table, "base")] == [("b", 90.0), ("a", 30.0)]
    assert win_rates(table, "base")[0].controlled is None


def test_a_model_that_won_every_match_may_still_lose_one():
    [rate] = win_rates(tabulate([Match(("a", "base"), 1.0)] * 10), "base")
    assert (rate.raw, rate.low, rate.high) == (100, pytest.approx(72.2, abs=0.1), pytest.approx(100))  # Wilson, 10 of 10
    [rate] = win_rates(tabulate([Match(("a", "base"), score) for score in (0.2, 0.4, 0.6)]), "base")
    assert (rate.low, rate.high) == (pytest.approx(40 - 4.30265 * 20 / 3**0.5), pytest.approx(40 + 4.30265 * 20 / 3**0.5))  # Student


def test_a_judge_who_prefers_length_alone_leaves_one_half_at_equal_lengths():
    [rate] = win_rates(tabulate(judged(lambda longer, _: 2.5 * np.tanh(longer / 12), size=60)), "base")
    assert rate.raw > 65
    assert rate.controlled == pytest.approx(50, abs=2.5)


def test_both_sides_share_a_hundred():
    matches = judged(lambda longer, number: 0.4 + 0.1 * longer + 0.02 * (number % 7))
    [rate] = win_rates(tabulate(matches), "base")
    swapped = [Match(match.models, 1 - match.score, match.prompt, match.answers[::-1]) for match in matches]
    [other] = win_rates(tabulate(swapped), "base")
    assert rate.controlled + other.controlled == pytest.approx(100, abs=1e-4)


def test_a_model_that_is_equally_long_keeps_its_rate():
    hard = np.random.default_rng(3).normal(size=300)
    many = [match for model in "abcd" for match in judged(lambda _, number: -1 + 1.5 * hard[number], model=model, seed=ord(model))]
    for rate in win_rates(tabulate(many), "base"):
        assert rate.controlled == pytest.approx(rate.raw, abs=1.5)


def test_adding_a_model_leaves_the_rates_of_the_others_nearly_alone():
    few = judged(lambda longer, _: 0.1 * longer - 0.5, model="a") + judged(lambda longer, _: 0.05 * longer, model="b", seed=2)
    before = {rate.model: rate.controlled for rate in win_rates(tabulate(few), "base")}
    after = {rate.model: rate.controlled for rate in win_rates(tabulate(few + judged(lambda *_: 2.0, model="c", seed=4)), "base")}
    assert after["a"] == pytest.approx(before["a"], abs=0.5)
    assert after["b"] == pytest.approx(before["b"], abs=0.5)


def test_one_model_has_an_interval_which_holds_what_made_the_verdicts():
    draw = np.random.default_rng(3)
    longer = draw.normal(100, 300, 400)
    score = (draw.random(400) < sigmoid(0.8 + np.tanh(longer / longer.std()))).astype(float)
    share, low, high = controlled_interval(score, longer, 1)
    assert low < sigmoid(np.array(0.8)) < high < score.mean() + 0.05
    assert low < share < high
    assert (share, low, high) == controlled_interval(score, longer, 1)
    assert share != pytest.approx(controlled_interval(score, longer, 2)[1])


def test_a_model_against_itself_wins_half():
    assert controlled_interval(np.full(50, 0.5), np.zeros(50), 1) == pytest.approx(share_interval(25, 50))
