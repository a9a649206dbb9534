"""Strengths, ties, Elo, intervals: against closed forms, other packages, and planted worlds."""

import numpy as np
import pytest

from trivium.core.errors import DataError
from trivium.core.types import Match, Message
from trivium.score.ranking import Anchor, How, flags, heldout_accuracy, leaderboard, tabulate
from trivium.score.ranking.elo import elo_over_orders, online_elo
from trivium.score.ranking.leaderboard import POINTS
from trivium.score.ranking.strengths import Penalty, data_of, fit, slopes_by_cluster
from trivium.score.ranking.style import amount, style_covariates
from trivium.score.ranking.ties import LIKELIHOODS, expected_score, sigmoid
from trivium.score.ranking.uncertainty import against_mean, analytic, bootstrap, sandwich

TIES = ("half", "davidson", "rao_kupper")


def played(*results: tuple[str, str, float], **more) -> list[Match]:
    return [Match((a, b), score, **more) for a, b, score in results]


def world(strength_M, matches: int, seed: int, draws: float = 0.0) -> list[Match]:
    """Matches between random pairs, won by Bradley-Terry; a share of them are draws whoever plays."""
    draw, found = np.random.default_rng(seed), []
    for _ in range(matches):
        a, b = draw.choice(len(strength_M), 2, replace=False)
        score = float(draw.random() < sigmoid(np.array(strength_M[a] - strength_M[b])))
        found.append(Match((f"m{a}", f"m{b}"), 0.5 if draw.random() < draws else score))
    return found


def strengths_of(matches, **how):
    table = tabulate(matches)
    return table, fit(data_of(table.first_N, table.second_N, table.score_N, table.num_models), **how)


# --- Bradley-Terry


def test_a_model_that_wins_three_of_four_is_190_85_points_ahead():
    table = tabulate(played(*[("a", "b", 1.0)] * 3, ("a", "b", 0.0)))
    first, second = leaderboard(table, How(intervals="analytic"), seed=1).places
    assert first.rating - second.rating == pytest.approx(400 * np.log10(3), abs=1e-9)
    assert (first.model, first.rating + second.rating) == ("a", pytest.approx(2000))


def test_at_the_maximum_every_model_has_won_what_it_was_expected_to():
    table, found = strengths_of(world([0.0, 0.7, -0.5, 1.2], 300, seed=1, draws=0.2))
    expected_N = found.expected(table.first_N, table.second_N, np.ones((len(table), 1)))
    won_M = np.bincount(table.first_N, table.score_N, 4) + np.bincount(table.second_N, 1 - table.score_N, 4)
    expected_M = np.bincount(table.first_N, expected_N, 4) + np.bincount(table.second_N, 1 - expected_N, 4)
    np.testing.assert_allclose(expected_M, won_M, atol=1e-7)
    np.testing.assert_allclose(found.weights_MD.sum(0), 0, atol=1e-12)


def test_the_order_of_matches_changes_elo_and_not_bradley_terry():
    matches = world([0.0, 1.0, -1.0], 120, seed=2)
    (table, found), (other, again) = strengths_of(matches), strengths_of(matches[::-1])
    np.testing.assert_allclose(found.weights_MD, again.weights_MD, atol=1e-9)
    assert np.abs(online_elo(table) - online_elo(other)).max() > 0.5


def test_strengths_equal_those_of_choix():
    choix = pytest.importorskip("choix")
    table, found = strengths_of(world([0.0, 0.7, -0.5, 1.2, 0.1], 400, seed=3))
    wins = [
        (int(a), int(b)) if score else (int(b), int(a)) for a, b, score in zip(table.first_N, table.second_N, table.score_N, strict=True)
    ]
    theirs = choix.opt_pairwise(5, wins, alpha=0, method="Newton-CG", tol=1e-12)
    np.testing.assert_allclose(found.weights_MD[:, 0], theirs - theirs.mean(), atol=1e-6)


def test_strengths_with_draws_as_half_wins_and_elo_equal_those_of_evalica():
    evalica = pytest.importorskip("evalica")
    table, found = strengths_of(world([0.0, 0.7, -0.5, 1.2], 400, seed=4, draws=0.3))
    winner = {1.0: evalica.Winner.X, 0.0: evalica.Winner.Y, 0.5: evalica.Winner.Draw}
    columns = (table.first_N.tolist(), table.second_N.tolist(), [winner[score] for score in table.score_N.tolist()])
    theirs = np.log(evalica.bradley_terry(*columns, tolerance=1e-14, limit=100_000).scores.sort_index().to_numpy())
    np.testing.assert_allclose(found.weights_MD[:, 0], theirs - theirs.mean(), atol=1e-6)
    elo = evalica.elo(*columns, initial=1000.0, k=4.0).scores.sort_index().to_numpy()
    np.testing.assert_allclose(online_elo(table), elo, atol=1e-6)


def test_two_models_with_draws_have_a_closed_form():
    matches = played(*[("a", "b", 1.0)] * 6, *[("a", "b", 0.0)] * 3, *[("a", "b", 0.5)] * 2)
    _, davidson = strengths_of(matches, ties="davidson")
    assert davidson.weights_MD[0, 0] - davidson.weights_MD[1, 0] == pytest.approx(np.log(6 / 3), abs=1e-8)
    assert np.exp(davidson.tie) == pytest.approx(2 / np.sqrt(6 * 3), abs=1e-8)
    _, rao_kupper = strengths_of(matches, ties="rao_kupper")
    won, lost = np.log(6 / 5), np.log(3 / 8)  # the log-odds of 6 and of 3 in 11
    assert rao_kupper.weights_MD[0, 0] - rao_kupper.weights_MD[1, 0] == pytest.approx((won - lost) / 2, abs=1e-8)
    assert rao_kupper.tie == pytest.approx(-(won + lost) / 2, abs=1e-8)


@pytest.mark.parametrize("ties", TIES)
def test_slopes_and_curvatures_are_those_of_the_value(ties):
    gap_N, score_N, tie, step = np.array([-1.3, 0.4, 2.0]), np.array([1.0, 0.5, 0.0]), 0.6, 1e-5
    likelihood = LIKELIHOODS[ties]
    here, right, left = (likelihood(gap_N + at, score_N, tie) for at in (0, step, -step))
    np.testing.assert_allclose(here.slope, (right.value - left.value) / (2 * step), atol=1e-8)
    np.testing.assert_allclose(here.curve, (left.slope - right.slope) / (2 * step), atol=1e-8)
    up, down = (likelihood(gap_N, score_N, tie + at) for at in (step, -step))
    np.testing.assert_allclose(here.tie_slope, (up.value - down.value) / (2 * step), atol=1e-8)
    np.testing.assert_allclose(here.tie_curve, (down.tie_slope - up.tie_slope) / (2 * step), atol=1e-7)
    np.testing.assert_allclose(here.mixed_curve, (down.slope - up.slope) / (2 * step), atol=1e-8)


@pytest.mark.parametrize("ties", TIES)
def test_both_sides_of_a_match_expect_one_win_between_them(ties):
    gap_N = np.array([-2.0, 0.0, 0.3])
    np.testing.assert_allclose(expected_score(gap_N, ties, 0.7) + expected_score(-gap_N, ties, 0.7), 1)


def test_strengths_that_are_functions_of_the_prompt_are_recovered():
    draw = np.random.default_rng(5)
    z_ND = np.stack([np.ones(4000), draw.choice([-1.0, 1.0], 4000)], axis=1)
    first_N = draw.integers(3, size=4000)
    second_N = (first_N + 1 + draw.integers(2, size=4000)) % 3
    true_MD = np.array([[0.5, 1.0], [0.0, -1.0], [-0.5, 0.0]])
    chance_N = sigmoid(((true_MD[first_N] - true_MD[second_N]) * z_ND).sum(1))
    found = fit(data_of(first_N, second_N, chance_N, 3, z_ND=z_ND))  # scores that are the probabilities themselves
    np.testing.assert_allclose(found.weights_MD, true_MD, atol=1e-7)
    shrunk = fit(data_of(first_N, second_N, chance_N, 3, z_ND=z_ND), penalty=Penalty(np.array([0.0, 1e6])))
    assert np.abs(shrunk.weights_MD[:, 1]).max() < 0.01


@pytest.mark.parametrize("ties", TIES)
def test_at_the_maximum_the_slopes_of_all_clusters_cancel(ties):
    table, _ = strengths_of(world([0.0, 0.7, -0.5], 200, seed=6, draws=0.2))
    data = data_of(table.first_N, table.second_N, table.score_N, 3, x_NF=np.random.default_rng(1).normal(size=(200, 1)))
    slope_CP = slopes_by_cluster(data, fit(data, ties=ties), np.arange(200) // 4)
    assert slope_CP.shape == (50, 4 + (ties != "half"))
    np.testing.assert_allclose(slope_CP.sum(0), 0, atol=1e-6)


# --- intervals


@pytest.mark.parametrize("kind", ["analytic", "sandwich", "bootstrap"])
def test_intervals_cover_what_was_planted(kind):
    """95 % of them, in worlds of one match a prompt; the bounds are three deviations of a binomial around it, with room for few matches."""
    true_M, worlds = np.array([0.4, 0.0, -0.4]), 12 if kind == "bootstrap" else 60
    hits = 0
    for seed in range(worlds):
        table, found = strengths_of(world(true_M, 240, seed=seed))
        data, cluster_N = data_of(table.first_N, table.second_N, table.score_N, 3), np.arange(240)
        if kind == "analytic":
            low_M, high_M = analytic(found, against_mean(3))
        elif kind == "sandwich":
            low_M, high_M = sandwich(data, found, cluster_N, against_mean(3))
        else:
            low_M, high_M = bootstrap(data, found, cluster_N, against_mean(3), covariate_ridge=0, seed=seed, resamples=60)
        hits += int(((low_M <= true_M) & (true_M <= high_M)).sum())
    assert (0.85 if kind == "bootstrap" else 0.89) <= hits / (3 * worlds) <= (1 if kind == "bootstrap" else 0.995)


def test_matches_that_are_alike_widen_the_sandwich_and_not_the_curvature():
    matches = [match for match in world([0.5, -0.5], 60, seed=7) for _ in range(4)]
    table, found = strengths_of(matches)
    data = data_of(table.first_N, table.second_N, table.score_N, 2)
    narrow, wide = analytic(found, against_mean(2)), sandwich(data, found, np.arange(240) // 4, against_mean(2))
    drawn = bootstrap(data, found, np.arange(240) // 4, against_mean(2), covariate_ridge=0, seed=1, resamples=150)
    widths = [high[0] - low[0] for low, high in (narrow, wide, drawn)]
    assert widths[1] / widths[0] == pytest.approx(2, rel=0.1)  # four of a kind say as much as one
    assert widths[2] / widths[1] == pytest.approx(1, rel=0.25)


def test_a_rank_counts_the_models_that_are_surely_better_and_an_anchor_shifts_all():
    table = tabulate(world([2.0, 0.05, 0.0, -2.0], 1200, seed=8))
    board = leaderboard(table, How(intervals="sandwich"), seed=1)
    assert [place.rank for place in board.places] == [1, 2, 2, 4]
    anchored = leaderboard(table, How(intervals="sandwich", anchor=Anchor("m3", 700.0)), seed=1)
    assert anchored.places[-1].rating == pytest.approx(700)
    assert anchored.places[-1].low == pytest.approx(700)
    assert anchored.places[0].rating - anchored.places[2].rating == pytest.approx(board.places[0].rating - board.places[2].rating)


def test_a_model_that_lost_every_match_has_a_rating_with_a_bound():
    board = leaderboard(tabulate(played(*[("a", "b", 1.0), ("b", "a", 1.0), ("a", "c", 1.0), ("b", "c", 1.0)] * 5)), How(), seed=1)
    assert board.is_separated
    assert board.places[-1].model == "c"
    assert np.isfinite([board.places[-1].low, board.places[-1].rating]).all()
    assert board.places[-1].rating > -1000


@pytest.mark.parametrize("kind", ["bootstrap", "sandwich"])
@pytest.mark.parametrize(
    "matches",
    [
        played(*[("a", "b", 1.0)] * 5),  # whoever is drawn again, the first has won
        played(("a", "b", 0.8), ("b", "a", 0.4), prompt=(Message("user", "the only one"),)),
    ],
)
def test_what_always_came_out_alike_is_not_sure(kind, matches):
    table = tabulate(matches)
    first, second = leaderboard(table, How(intervals=kind, resamples=20), seed=1).places
    known = leaderboard(table, How(intervals="analytic"), seed=1).places[0]
    assert first.high - first.low >= known.high - known.low > 300
    assert first.low < second.high  # so that both share a rank
    assert second.rank == 1


def test_held_out_matches_are_put_right_about_as_often_as_the_truth_does():
    table = tabulate(world([1.5, 0.0, -1.5], 3000, seed=9))
    [bradley_terry, elo] = heldout_accuracy(table, How(intervals="analytic"), seed=1)
    assert bradley_terry.low <= 0.86 <= bradley_terry.high + 0.02
    assert elo.n == bradley_terry.n


def test_models_that_never_met_are_not_ranked_together():
    with pytest.raises(DataError, match=r"groups that never met: a, b \(2\) and c, d \(2\)"):
        leaderboard(tabulate(played(("a", "b", 1.0), ("c", "d", 0.0))), How(), seed=1)


@pytest.mark.parametrize(
    ("scores", "problem"), [((1.0, 0.0), "no match is one"), ((0.3, 0.5), "are probabilities"), ((0.5, 0.5), "every match")]
)
def test_ties_say_what_they_need(scores, problem):
    with pytest.raises(DataError, match=problem):
        leaderboard(tabulate(played(*[("a", "b", score) for score in scores])), How(ties="davidson"), seed=1)


# --- Elo


def test_an_even_match_moves_two_points():
    table = tabulate(played(("a", "b", 1.0)))
    np.testing.assert_allclose(online_elo(table), [1002, 998])
    np.testing.assert_allclose(online_elo(tabulate(played(("a", "b", 0.5)))), [1000, 1000])


def test_elo_over_orders_has_the_mean_of_orders():
    table = tabulate(played(("a", "b", 1.0), ("a", "b", 0.0)))
    won_first = 1002 + 4 * (0 - 1 / (1 + 10 ** (-4 / 400)))
    mean_M, low_M, high_M = elo_over_orders(table, seed=1, orders=400)
    assert mean_M[0] == pytest.approx(1000, abs=0.01)
    assert mean_M.sum() == pytest.approx(2000)
    assert low_M[0] == pytest.approx(won_first)
    assert high_M[0] == pytest.approx(2000 - won_first)


# --- style


def test_markup_is_counted_outside_of_code():
    text = "# Head\n- one\n2. two\n**bold** and __too__\n```\n# no\n- no **no**\n```\n"
    assert [amount(text, of) for of in ("headers", "lists", "bold")] == [1, 2, 2]
    assert amount("abc```code", "length") == 3


def test_a_judge_who_likes_length_alone_makes_controlled_ratings_equal():
    draw, matches = np.random.default_rng(10), []
    for _ in range(600):
        size_a, size_b = draw.integers(1, 40), draw.integers(20, 60)  # b is long-winded
        gap = 3 * (size_a - size_b) / (size_a + size_b)
        matches.append(Match(("a", "b"), float(draw.random() < sigmoid(np.array(gap))), answers=("x" * size_a, "x" * size_b)))
    table = tabulate(matches)
    raw, controlled = (leaderboard(table, How(control=control, intervals="sandwich"), seed=1) for control in ((), ("length",)))
    assert raw.places[0].model == "b"
    assert raw.places[0].rating - raw.places[1].rating > 100
    assert controlled.places[0].low < controlled.places[1].high
    assert controlled.style["length"] > 100
    swapped = tabulate([Match(m.models[::-1], 1 - m.score, answers=m.answers[::-1]) for m in matches])
    np.testing.assert_allclose(style_covariates(swapped, ("length",)), -style_covariates(table, ("length",)))


def test_control_needs_answers():
    with pytest.raises(DataError, match="1 of 1 matches have no answers"):
        leaderboard(tabulate(played(("a", "b", 0.4))), How(control=("length",)), seed=1)


# --- attacks


def judged_by_difficulty(constant: bool) -> list[Match]:
    """Eight models against a baseline on 80 prompts that are hard for all alike; the ninth wins whatever is asked."""
    draw, matches = np.random.default_rng(11), []
    for number in range(80):
        hardness = draw.normal()
        prompt = (Message("user", f"prompt {number}"),)
        for model in range(8):
            gap = -1 + 0.1 * model - 1.5 * hardness + 0.3 * draw.normal()
            matches.append(Match((f"m{model}", "base"), float(sigmoid(np.array(gap))), prompt))
        if constant:
            matches.append(Match(("constant", "base"), float(sigmoid(1.2 + draw.normal())), prompt))
    return matches


def test_a_constant_answer_is_flagged_by_its_scores_alone():
    [flag] = flags(tabulate(judged_by_difficulty(constant=True)))
    assert flag.model == "constant"
    assert "not where others do" in flag.reason
    assert "over 80 prompts" in flag.reason
    assert not flags(tabulate(judged_by_difficulty(constant=False)))


def test_a_constant_answer_is_flagged_by_its_text():
    matches = [
        Match(("null", "base"), 1.0, (Message("user", f"{number}"),), ("I win.", f"answer {number}")) for number in range(10)
    ]  # fmt: skip
    [flag] = flags(tabulate(matches))
    assert (flag.model, flag.reason) == ("null", "gave the same answer to 10 of 10 prompts, as no other model did")


def test_leaving_a_model_out_keeps_the_others():
    table = tabulate(played(("a", "b", 1.0), ("c", "a", 1.0), ("b", "a", 0.5)))
    rest = table.without(["a"])
    assert (rest.models, len(rest)) == (("b", "c"), 0)
    kept = table.without(["c"])
    assert (kept.models, kept.first_N.tolist(), kept.score_N.tolist()) == (("a", "b"), [0, 1], [1.0, 0.5])


def test_points_are_400_a_factor_of_ten():
    assert np.log(10) * POINTS == pytest.approx(400)


def test_short_answers_that_others_give_too_are_honest():
    draw, matches = np.random.default_rng(12), []
    for number in range(40):
        truth, prompt = ("yes" if number % 4 else "no"), (Message("user", f"is it {number}?"),)
        for model in ("a", "b", "c"):
            said = truth if draw.random() < 0.9 else "no"
            matches.append(Match((model, "base"), 0.5, prompt, (said, truth)))
        matches.append(Match(("null", "base"), 1.0, prompt, ("I win.", truth)))
    assert [flag.model for flag in flags(tabulate(matches))] == ["null"]
