"""Routers: what they are worth is computed by hand, what they learn is planted, and what is stored decides as it did before."""

import json
from dataclasses import replace

import numpy as np
import pytest

from trivium.core.errors import ArtefactError, ConfigError, DataError
from trivium.core.types import Match, Message
from trivium.score.ranking import heldout_prompts, tabulate
from trivium.score.ranking.ties import sigmoid
from trivium.score.routing.costs import choose, cost_curve, costs_of, expected_worth
from trivium.score.routing.features import PromptSpace, hashed_words, with_one
from trivium.score.routing.gain import area, call_share, recovered, sent, threshold, worth
from trivium.score.routing.prediction import predicted, quality_of, verdict
from trivium.score.routing.routers import Classifier, Lesson, Matrix, Preference, Random, Similarity, gaps
from trivium.score.routing.routers.lesson import gain_of_scores
from trivium.score.routing.store import _is_sent, load_routers, save_routers
from trivium.studies.routing import planted_matches

ROUTERS = (Random(), Similarity(), Matrix(rank=4, epochs=60, lr=3e-3), Classifier(hidden=8, epochs=30), Preference())
LEARNING = ROUTERS[1:]


# --- what a router is worth


def test_a_router_that_orders_three_prompts_recovers_by_hand():
    score_P, gain_P = np.array([0.9, 0.5, 0.1]), np.array([0.0, 1.0, 1.0])
    share, pgr = recovered(score_P, gain_P)
    np.testing.assert_allclose(share, [0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(pgr, [0, 0, 0.5, 1])
    assert area(share, pgr) == pytest.approx((0 + 0.25 + 0.75) / 3)
    assert call_share(share, pgr, 0.5) == pytest.approx(2 / 3)
    assert call_share(share, pgr, 0.8) == pytest.approx(2 / 3 + 0.3 / 0.5 / 3)
    assert call_share(share, pgr, 0.0) == 0


def test_the_published_example_of_a_gap_recovered():
    """Weak 8.4, strong 9.0, router 8.8: 2/3."""
    _, pgr = recovered(np.array([2.0, 1.0]), np.array([0.8, 0.4]))  # half of the prompts carry two thirds of the gap
    assert pgr[1] == pytest.approx((8.8 - 8.4) / (9.0 - 8.4))


def test_one_score_for_all_is_a_coin_and_exactly_one_half():
    gain_P = np.random.default_rng(1).integers(-1, 2, 200).astype(float) + (np.arange(200) % 4 == 0)
    found = worth(np.full(200, 0.3), gain_P, seed=1, resamples=50)
    assert (found.apgr, found.apgr_low, found.apgr_high) == (0.5, 0.5, 0.5)
    assert found.cpt == (0.5, 0.8)


def test_the_mean_over_coins_is_that_of_one_score_for_all():
    draw, gain_P = np.random.default_rng(2), np.array([1.0, 0.0, 1.0, -1.0, 1.0, 0.0, 0.0, 1.0])
    areas = [area(*recovered(draw.random(8), gain_P)) for _ in range(4000)]
    assert np.mean(areas) == pytest.approx(0.5, abs=4 * np.std(areas) / np.sqrt(4000))


def test_the_oracle_is_above_every_other_order():
    draw = np.random.default_rng(3)
    gain_P = draw.normal(0.2, 1, 300)
    best = area(*recovered(gain_P, gain_P))
    assert best > 1  # it also leaves out the prompts on which the strong model is worse
    assert all(area(*recovered(draw.random(300), gain_P)) < best for _ in range(20))


def test_a_curve_that_falls_again_is_read_at_its_first_crossing():
    share, pgr = recovered(np.array([4.0, 3.0, 2.0, 1.0]), np.array([1.0, -0.5, 0.0, 0.5]))
    np.testing.assert_allclose(pgr, [0, 1, 0.5, 0.5, 1])
    assert call_share(share, pgr, 0.8) == pytest.approx(0.2)


def test_a_strong_model_that_is_not_better_has_no_gap():
    with pytest.raises(DataError, match="no gap to recover; swap them"):
        recovered(np.array([1.0, 2.0]), np.array([0.0, -1.0]))


def test_a_threshold_sends_the_share_it_was_made_for():
    score_P = np.random.default_rng(4).random(4000)
    assert sent(score_P[2000:], threshold(score_P[:2000], 0.3)) == pytest.approx(0.3, abs=0.03)
    assert sent(score_P, threshold(score_P, 0.3)) == pytest.approx(0.3, abs=1e-3)
    assert (sent(score_P, threshold(score_P, 0.0)), sent(score_P, threshold(score_P, 1.0))) == (0, 1)


def test_two_models_with_prices_are_routed_by_a_threshold():
    strength_PM = np.stack([np.random.default_rng(5).normal(size=50), np.zeros(50)], axis=1)
    chosen_P = choose(expected_worth(strength_PM), np.array([10.0, 1.0]), 0.02)
    chance_P = sigmoid(strength_PM[:, 0])
    np.testing.assert_array_equal(chosen_P == 0, 2 * chance_P - 1 > 0.02 * 9)


def test_three_models_spend_less_and_less_and_the_chances_are_means_over_the_others():
    draw = np.random.default_rng(6)
    strength_PM, cost_M = draw.normal(size=(200, 3)) + [1.0, 0.5, 0.0], np.array([5.0, 2.0, 1.0])
    worth_PM = expected_worth(strength_PM)
    assert worth_PM[0, 0] == pytest.approx(np.mean(sigmoid(strength_PM[0, 0] - strength_PM[0, 1:])))
    np.testing.assert_allclose(worth_PM.sum(1), 1.5)
    curve = cost_curve(worth_PM, worth_PM, cost_M)
    assert all(a.cost >= b.cost and a.quality >= b.quality - 1e-12 for a, b in zip(curve, curve[1:], strict=False))
    assert curve[-1].shares == (0, 0, 1)
    assert curve[0].quality == pytest.approx(worth_PM.max(1).mean())


def test_prices_are_for_all_models_or_none():
    with pytest.raises(ConfigError, match="no price for b"):
        costs_of(("a", "b"), {"a": 1.0})
    with pytest.raises(ConfigError, match="'c' is in no match"):
        costs_of(("a", "b"), {"c": 1.0})


# --- features


def test_hashed_words_do_not_depend_on_their_neighbours_in_the_batch():
    prompts = [(Message("user", text),) for text in ("one two three", "", "three two one")]
    together = hashed_words(prompts)
    np.testing.assert_array_equal(together[2], hashed_words(prompts[2:])[0])
    assert np.linalg.norm(together, axis=1).tolist() == pytest.approx([1, 0, 1])
    assert not np.allclose(together[0], together[2])  # pairs of words count too


def test_axes_are_orthogonal_and_of_mean_square_one():
    raw_PR = np.random.default_rng(7).normal(size=(60, 12)) * np.arange(1, 13)
    space = PromptSpace.of(raw_PR, 5, is_words=False)
    z_PD = space(raw_PR)
    assert z_PD.shape == (60, 5)
    covariance = np.cov(z_PD, rowvar=False)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-9)
    assert (z_PD**2).mean() == pytest.approx(1)
    assert PromptSpace.of(raw_PR[:3], 5, is_words=False).dim == 2  # three points span two directions


# --- what routers learn


def lesson_of(effect: float, *, prompts: int = 600, seed: int = 1):
    matches = planted_matches(effect=effect, seed=seed, prompts=prompts)
    whole = tabulate(matches)
    held_N = heldout_prompts(whole, 0.3, seed)[whole.prompt_N]
    train = tabulate([match for match, held in zip(matches, held_N, strict=True) if not held])
    test = tabulate([match for match, held in zip(matches, held_N, strict=True) if held], train.models)
    raw_PR, raw_QR = hashed_words(train.prompts), hashed_words(test.prompts)
    space = PromptSpace.of(raw_PR, 8, is_words=True)
    return Lesson(train, space(raw_PR), heldout_prompts(train, 0.2, 5), seed), test, raw_QR, space


@pytest.fixture(scope="module")
def planted():
    return lesson_of(1.5)


@pytest.fixture(scope="module")
def flat():
    return lesson_of(0.0)


def strengths_of(router, world):
    lesson, _, raw_QR, space = world
    return router.strengths(router.learn(lesson), space(raw_QR))


@pytest.mark.parametrize("router", LEARNING, ids=lambda router: router.kind)
def test_a_planted_effect_of_the_prompt_is_found(router, planted):
    _, test, *_ = planted
    found = predicted(test, strengths_of(router, planted), strengths_of(Random(), planted))
    assert found.beats_plain
    assert found.accuracy[0] > 0.7  # by topic 0.81 can be had: the mean of sigmoid(2) and sigmoid(1)


@pytest.mark.parametrize("router", LEARNING, ids=lambda router: router.kind)
def test_without_an_effect_no_router_beats_plain_bradley_terry(router, flat):
    _, test, *_ = flat
    found = predicted(test, strengths_of(router, flat), strengths_of(Random(), flat))
    assert not found.beats_plain
    assert found.gain[0] > -0.1  # nor does it lose much by having looked


def test_plain_bradley_terry_says_the_same_of_every_prompt_and_gains_nothing(planted):
    lesson, test, *_ = planted
    strength_PM = strengths_of(Random(), planted)
    assert np.ptp(strength_PM, axis=0).max() == 0
    assert sigmoid(strength_PM[0, 0] - strength_PM[0, 1]) == pytest.approx(lesson.table.score_N.mean(), abs=1e-6)
    assert predicted(test, strength_PM, strength_PM).gain == (0, 0, 0)


def test_chances_of_both_sides_are_one_and_against_itself_one_half(planted):
    _, test, *_ = planted
    strength_PM = strengths_of(Preference(), planted)
    swapped = tabulate([Match(("weak", "strong"), 0.0, prompt) for prompt in test.prompts], test.models)
    forward = tabulate([Match(("strong", "weak"), 1.0, prompt) for prompt in test.prompts], test.models)
    np.testing.assert_allclose(sigmoid(gaps(forward, strength_PM)) + sigmoid(gaps(swapped, strength_PM)), 1)
    assert sigmoid(strength_PM[:, 0] - strength_PM[:, 0]).tolist() == [0.5] * len(strength_PM)


def test_what_routers_learn_depends_on_the_seed_alone(planted):
    lesson, *_ = planted
    for router in (Matrix(epochs=2), Classifier(epochs=2)):
        first, second = router.learn(lesson), router.learn(lesson)
        assert all(np.array_equal(first[name], second[name]) for name in first)


def test_the_slopes_of_the_matrix_are_those_of_its_loss():
    draw, router = np.random.default_rng(8), Matrix(rank=3)
    weights = {"models": draw.normal(size=(3, 3)), "project": draw.normal(size=(4, 3)), "weight": draw.normal(size=3)}
    z_NE, first_N, second_N, score_N = (
        with_one(draw.normal(size=(5, 3))),
        np.array([0, 1, 2, 0, 1]),
        np.array([1, 2, 0, 2, 0]),
        draw.random(5),
    )

    def loss(changed):
        strength = router.strengths(changed, z_NE[:, 1:])
        gap_N = strength[np.arange(5), first_N] - strength[np.arange(5), second_N]
        return float((np.logaddexp(0, gap_N) - score_N * gap_N).sum())

    slopes = router._gradient(weights, z_NE, first_N, second_N, score_N)
    for name, value in weights.items():
        for place in np.ndindex(value.shape):
            step = np.zeros_like(value)
            step[place] = 1e-6
            numeric = (loss({**weights, name: value + step}) - loss({**weights, name: value - step})) / 2e-6
            assert slopes[name][place] == pytest.approx(numeric, abs=1e-6)


def test_similarity_without_any_is_plain_bradley_terry(planted):
    lesson, *_ = planted
    router = Similarity(base=1.0 + 1e-9)
    strength_PM = router.strengths(router.learn(lesson), lesson.z_PD[:3])
    won, lost = lesson.table.score_N.sum() + 0.5, (1 - lesson.table.score_N).sum() + 0.5
    np.testing.assert_allclose(strength_PM[:, 0] - strength_PM[:, 1], np.log(won / lost), atol=1e-6)


def test_quality_is_what_answers_were_worth_or_the_mean_score():
    prompt, other = (Message("user", "x"),), (Message("user", "y"),)
    worths = tabulate([Match(("a", "b"), 0.5, prompt, None, (1.0, 1.0)), Match(("a", "c"), 1.0, prompt, None, (1.0, 0.0))])
    assert quality_of(worths).tolist() == [[1.0, 1.0, 0.0]]
    scores = tabulate([Match(("a", "b"), 1.0, prompt), Match(("b", "a"), 0.5, prompt), Match(("a", "b"), 0.2, other)])
    np.testing.assert_allclose(quality_of(scores), [[0.75, 0.25], [0.2, 0.8]])


def test_the_verdict_says_when_nothing_beats_plain_bradley_terry(flat, planted):
    for world, said in ((flat, "'preference' does not beat plain Bradley-Terry"), (planted, "'preference' foresees who wins")):
        found = predicted(world[1], strengths_of(Preference(), world), strengths_of(Random(), world))
        assert verdict("preference", found).startswith(said)


# --- on disk


@pytest.fixture
def stored(tmp_path, planted):
    lesson, _, raw_QR, space = planted
    options = {router.kind: router for router in ROUTERS}
    learned = {kind: router.learn(lesson) for kind, router in options.items()}
    quantiles = {}
    for kind, router in options.items():
        strength_PM = router.strengths(learned[kind], space(raw_QR))
        score_P = sigmoid(strength_PM[:, 0] - strength_PM[:, 1])
        quantiles[kind] = {"score_quantiles": np.quantile(score_P, np.linspace(0, 1, 101), method="higher").tolist()}
    facts = {
        "models": list(lesson.table.models), "embedding": "", "strong": "strong", "weak": "weak", "costs": {"strong": 10.0, "weak": 1.0},
        "share": 0.3, "best": "preference", "routers": quantiles,
    }  # fmt: skip
    save_routers(tmp_path / "router", facts, space, options, learned)
    return tmp_path / "router", learned, raw_QR, space


def test_stored_routers_say_the_same_bits(stored):
    folder, learned, raw_QR, space = stored
    found = load_routers(folder)
    for router in ROUTERS:
        expected = router.strengths(learned[router.kind], space(raw_QR))
        np.testing.assert_array_equal(found.strengths(router.kind, raw_QR), expected)


def test_a_decision_follows_the_topic_the_share_and_the_price(stored):
    found = load_routers(stored[0])
    code, prose = hashed_words([(Message("user", text),) for text in ("python function loop compile", "poem garden story music")])
    assert [found.decide(raw, share=0.5).model for raw in (code, prose)] == ["strong", "weak"]
    assert found.decide(code).chances["strong"] > 0.7 > found.decide(prose).chances["strong"]
    assert [found.decide(prose, share=share).model for share in (0.0, 1.0)] == ["weak", "strong"]
    assert [found.decide(code, price=price).model for price in (0.0, 1.0)] == ["strong", "weak"]


@pytest.mark.parametrize("kind", [router.kind for router in ROUTERS])
def test_stored_routers_send_the_share_that_is_asked_for(stored, kind):
    folder, _, raw_QR, _ = stored
    found = load_routers(folder)
    share = np.mean([found.decide(raw_R, kind=kind, share=0.4).model == "strong" for raw_R in raw_QR])
    assert share == pytest.approx(0.4, abs=0.12 if kind == "random" else 0.03)


def test_decisions_say_what_is_missing(stored):
    found = load_routers(stored[0])
    with pytest.raises(ConfigError, match="no router 'forest'; it has: random, similarity"):
        found.decide(stored[2][0], kind="forest")
    facts = stored[0] / "router.json"
    facts.write_text(facts.read_text().replace("preference", "preferenze"))
    with pytest.raises(ArtefactError):
        load_routers(stored[0])
    assert json.loads(facts.read_text())["models"] == ["strong", "weak"]


def test_scores_that_are_log_odds_but_for_a_factor_get_that_factor(planted):
    lesson, *_ = planted
    topic_P = np.array(
        [1.0 if "python" in prompt[0].content or "function" in prompt[0].content else -1.0 for prompt in lesson.table.prompts]
    )
    true_PM = np.stack([0.5 + 1.5 * topic_P, np.zeros(len(topic_P))], axis=1)
    table = lesson.table
    exact = sigmoid(gaps(table, true_PM))
    sure = tabulate(
        [Match(("strong", "weak"), float(score), table.prompts[p]) for score, p in zip(exact, table.prompt_N, strict=True)], table.models
    )
    assert gain_of_scores(sure, true_PM / 4) == pytest.approx(4, rel=0.01)


def test_intervals_of_the_gap_recovered_cover_that_of_many_prompts():
    def world(seed: int, prompts: int):
        draw = np.random.default_rng(seed)
        easy_P = draw.random(prompts)  # the strong model is needed where this is small, and the router sees it through noise
        gain_P = (draw.random(prompts) < 0.95).astype(float) - (draw.random(prompts) < 0.4 + 0.5 * easy_P)
        return -easy_P + 0.3 * draw.normal(size=prompts), gain_P

    truth = area(*recovered(*world(1, 200_000)))
    found = [worth(*world(seed, 250), seed=seed, resamples=80) for seed in range(2, 42)]
    assert sum(one.apgr_low <= truth <= one.apgr_high for one in found) >= 34


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_prompts_with_one_score_are_sent_by_lot(share):
    low, same, high = 0.1, 0.5, 0.9
    quantiles = [low] * 10 + [same] * 80 + [high] * 10
    lots = np.random.default_rng(13).random(4000)
    scores = [low] * 400 + [same] * 3200 + [high] * 400
    sent_N = [_is_sent(score, same, quantiles, share, lot) for score, lot in zip(scores, lots, strict=True)]
    assert np.mean(sent_N) == pytest.approx(share, abs=0.03)
    assert all(sent_N[3600:])
    assert not any(sent_N[:400])


def test_a_router_with_one_score_for_all_is_a_coin(stored):
    found = load_routers(stored[0])
    alike = replace(found, learned={**found.learned, "preference": {n: 0 * a for n, a in found.learned["preference"].items()}})
    score = alike.decide(stored[2][0], kind="preference").score
    alike.facts["routers"]["preference"]["score_quantiles"] = [score] * 101
    share = np.mean([alike.decide(raw_R, kind="preference", share=0.4).model == "strong" for raw_R in stored[2]])
    assert share == pytest.approx(0.4, abs=0.12)
