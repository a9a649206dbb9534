"""Numbers that can be checked on paper: the formulas of the papers, computed once in float64 and never changed."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from trivium.core.errors import ConfigError
from trivium.core.types import example
from trivium.data.pack import pack
from trivium.learn.credit import (
    GAE,
    Answers,
    BatchMean,
    Distillation,
    GreedyBaseline,
    GroupMean,
    LeaveOneOut,
    Versus,
    overlong,
    whiten,
)
from trivium.learn.credit.group_mean import beta_density
from trivium.learn.kl import AdaptiveKL, kl_estimate
from trivium.learn.objectives import Process, Ranking, Value
from trivium.learn.objectives.policy import CISPO, REINFORCE, SAPO, PolicyGradient
from trivium.learn.reduce import Counts, measure, reduce
from trivium.nn.batch import Batch

DOUBLE = torch.float64


def one_token_answers(*, groups: list[int] | None = None, **columns: list[float]) -> Batch:
    """Sequences of a prompt token and one token that counts, with these columns there. groups: sequences of each."""
    size = len(next(iter(columns.values())))
    rows = [example([0, 1], **{name: [0, values[number]] for name, values in columns.items()}) for number in range(size)]
    cuts = np.cumsum([0, *(groups or [1] * size)])
    [batch] = pack([tuple(rows[start:end]) for start, end in zip(cuts, cuts[1:], strict=False)], rows=size, length=2)
    return batch


def at_the_answer(*values: float) -> torch.Tensor:
    """(B, 2): 0 on the prompt, the value on the answer."""
    return torch.tensor([[0.0, value] for value in values], dtype=DOUBLE)


@pytest.mark.parametrize(
    ("scores", "rank", "margin", "loss"),
    [
        ([1.2, 0.5], [0, 1], 0.0, 0.4031860488854579),
        ([1.2, 0.5], [0, 1], 1.0, 0.8543552444685272),
        ([2, 1, 0.5, -1], [0, 1, 2, 3], 0.0, 0.22761343171342482),
        ([102, 101, 100.5, 99], [0, 1, 2, 3], 0.0, 0.22761343171342482),
        ([-1, 0.5, 2, 1], [3, 2, 0, 1], 0.0, 0.22761343171342482),
        ([1.2, 9.0, 0.5], [0, 0, 1], 0.0, (0.4031860488854579 + np.log1p(np.exp(-8.5))) / 2),
        ([3, 1], [0, 0], 0.0, 0.0),
    ],
    ids=["pair", "margin", "four answers", "shifted", "in another order", "a tie is dropped", "all tied"],
)
def test_ranking(scores, rank, margin, loss):
    batch = one_token_answers(groups=[len(rank)], rank=rank)
    loss_G, _ = Ranking(margin=margin)(SimpleNamespace(scores_BL=at_the_answer(*scores)), batch)
    assert float(loss_G) == pytest.approx(loss, abs=1e-8)


def ranking_loss(rule: Ranking, scores: list[float], **columns: list[float]) -> float:
    batch = one_token_answers(groups=[len(scores)], **columns)
    return float(rule(SimpleNamespace(scores_BL=at_the_answer(*scores)), batch)[0])


@pytest.mark.parametrize("objective", [Ranking(has_margins=True)])
def test_margins_of_the_data_push_further_where_people_were_surer(objective):
    assert ranking_loss(objective, [1.2, 0.5], rank=[0, 1], margin=[1.0, 1.0]) == pytest.approx(0.8543552444685272)
    assert ranking_loss(objective, [1.2, 0.5], rank=[0, 1], margin=[0.0, 0.0]) == pytest.approx(0.4031860488854579)


@pytest.mark.parametrize("objective", [Ranking(has_probs=True)])
def test_a_probability_mixes_both_directions(objective):
    right, wrong = np.log1p(np.exp(-0.7)), np.log1p(np.exp(0.7))
    assert ranking_loss(objective, [1.2, 0.5], rank=[0, 1], prob=[0.75, 0.75]) == pytest.approx(0.75 * right + 0.25 * wrong)


@pytest.mark.parametrize("objective", [Ranking(ties="half")])
def test_a_tie_may_count_half_in_either_direction(objective):
    even = 0.5 * (np.log1p(np.exp(-1)) + np.log1p(np.exp(1)))
    assert ranking_loss(objective, [3, 2], rank=[0, 0]) == pytest.approx(even)
    three = (even + np.log1p(np.exp(-3)) + np.log1p(np.exp(-2))) / 3
    assert ranking_loss(objective, [3, 2, 0], rank=[0, 0, 1]) == pytest.approx(three)


@pytest.mark.parametrize("objective", [Process()])
def test_a_step_costs_what_its_label_was_unlikely(objective):
    batch = one_token_answers(correct=[1.0, 0.0, 0.25])
    loss_BL, metrics = objective(SimpleNamespace(scores_BL=at_the_answer(2, 2, -1)), batch)
    right, wrong = np.log1p(np.exp(-2)), np.log1p(np.exp(2))
    soft = 0.25 * np.log1p(np.exp(1)) + 0.75 * np.log1p(np.exp(-1))
    assert loss_BL[:, 1].tolist() == pytest.approx([right, wrong, soft])
    assert float(reduce(loss_BL, batch, Counts.of([batch]), "token")) == pytest.approx((right + wrong + soft) / 3)
    assert [float(each) for each in metrics["accuracy"]] == [2, 3]


@pytest.mark.parametrize(("score", "value"), [("product", 0.684), ("minimum", 0.8), ("mean", 2.65 / 3), ("last", 0.95)])
def test_an_answer_is_worth_what_its_steps_make_together(score, value):
    assert Process(score=score).of_answer(np.log(np.array([9, 4, 19]))) == pytest.approx(value)
    assert Process(score=score).of_answer([900.0, 800.0]) == 1


def test_centring_pulls_the_mean_score_of_a_group_to_zero():
    batch = one_token_answers(groups=[2, 2], rank=[0, 1, 0, 1])
    out = SimpleNamespace(scores_BL=at_the_answer(3, 1, -2, -6))
    plain_G, centred_G = Ranking()(out, batch)[0], Ranking(centre=0.01)(out, batch)[0]
    torch.testing.assert_close(centred_G - plain_G, torch.tensor([0.04, 0.16], dtype=DOUBLE))


@pytest.mark.parametrize(
    ("log_ratio", "k1", "k2", "k3"), [(-1.0, -1.0, 0.5, 0.7182818284590451), (0.5, 0.5, 0.125, 0.10653065971263342), (0.0, 0.0, 0.0, 0.0)]
)
def test_kl_estimators(log_ratio, k1, k2, k3):
    estimates = [float(kl_estimate(torch.tensor(log_ratio, dtype=DOUBLE), how)) for how in ("k1", "k2", "k3")]
    assert estimates == pytest.approx([k1, k2, k3], abs=1e-15)


@pytest.mark.parametrize(("kl", "after"), [(12, 0.151536), (3, 0.148464), (6, 0.15), (6.3, 0.150384)])
def test_the_kl_controller_moves_in_proportion_and_not_by_more_than_a_fifth(kl, after):
    assert AdaptiveKL(target=6, horizon=10_000)(0.15, kl, 512) == pytest.approx(after, abs=1e-12)


def test_gae():
    advantages, returns = GAE(gamma=1, lam=0.95).of_rewards(np.array([0.0, 0, 1]), np.array([0.2, 0.3, 0.4]))
    np.testing.assert_allclose(advantages, [0.7365, 0.67, 0.6], atol=1e-15)
    np.testing.assert_allclose(returns, [0.9365, 0.97, 1.0], atol=1e-15)


def test_gae_without_discount_and_decay_is_the_reward_to_go_minus_the_value():
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=7), rng.normal(size=7)
    np.testing.assert_allclose(GAE(gamma=1, lam=1).of_rewards(rewards, values)[0], rewards[::-1].cumsum()[::-1] - values, atol=1e-14)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "is_clipped"),
    [(1.5, 1, -1.2, 1), (0.5, 1, -0.5, 1), (1.5, -1, 1.5, 1), (0.5, -1, 0.8, 1), (1.1, 1, -1.1, 0)],
)
@pytest.mark.parametrize("objective", [PolicyGradient()])
def test_ppo_clips_only_where_it_would_gain(objective, ratio, advantage, loss, is_clipped):
    batch = one_token_answers(old_logprobs=[0.0], advantages=[advantage])
    out = SimpleNamespace(logprobs_BL=at_the_answer(np.log(ratio)), entropy_BL=at_the_answer(0))
    loss_BL, metrics = objective(out, batch)
    assert float(loss_BL[0, 1]) == pytest.approx(loss, abs=1e-12)
    assert float(metrics["clip_fraction"][0]) == is_clipped


@pytest.mark.parametrize(("kl", "penalty"), [("k2", 0.125), ("k3", 0.10653065971263342), ("ratio_k3", 2 * 0.10653065971263342)])
def test_the_kl_penalty_and_the_entropy_bonus_are_added_to_the_loss(kl, penalty):
    batch = one_token_answers(old_logprobs=[0.0], advantages=[0.0], ref_logprobs=[np.log(2) - 0.5])
    out = SimpleNamespace(logprobs_BL=at_the_answer(np.log(2)), entropy_BL=at_the_answer(3))
    loss_BL, _ = PolicyGradient(kl_coef=0.1, kl=kl, entropy_coef=0.01)(out, batch)
    assert float(loss_BL[0, 1]) == pytest.approx(0.1 * penalty - 0.03, abs=1e-8)


def test_the_estimator_that_has_no_gradient_is_refused_in_a_loss():
    with pytest.raises(ConfigError, match="kl"):
        PolicyGradient(kl="k1")


@pytest.mark.parametrize(("old", "value", "loss"), [(0.5, 0.6, 0.08), (0.5, 1.5, 0.125), (1.5, 0.9, 0.045), (0.0, 0.5, 0.32)])
@pytest.mark.parametrize("objective", [Value(clip=0.2)])
def test_the_value_loss_is_the_larger_of_plain_and_clipped(objective, old, value, loss):
    batch = one_token_answers(values=[old], returns=[1.0])
    loss_BL, _ = objective(SimpleNamespace(values_BL=at_the_answer(value)), batch)
    assert float(loss_BL[0, 1]) == pytest.approx(loss, abs=1e-7)


def one_prompt(scores: list[float], *, per_prompt: int | None = None, penalty: float = 0.0, greedy: list[float] | None = None) -> Answers:
    """Answers of one, two, three ... tokens, each of which costs the penalty."""
    penalties = [np.full(number + 1, penalty) for number in range(len(scores))]
    return Answers(np.array(scores), penalties, per_prompt or len(scores), None, None if greedy is None else np.array(greedy))


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (GroupMean(scale="std", std_ddof=1), 1.0952451515, -0.7301634343),
        (GroupMean(scale="std", std_ddof=0), 1.2244949224, -0.8163299483),
        (GroupMean(), 0.6, -0.4),
        (LeaveOneOut(), 0.75, -0.5),
    ],
    ids=["GRPO ddof 1", "GRPO ddof 0", "Dr. GRPO", "RLOO"],
)
def test_group_advantages(rule, good, bad):
    advantages = rule(one_prompt([1.0, 0, 0, 1, 0])).advantages
    assert [len(tokens) for tokens in advantages] == [1, 2, 3, 4, 5]
    for tokens, expected in zip(advantages, [good, bad, bad, good, bad], strict=True):
        np.testing.assert_allclose(tokens, expected, atol=1e-9)


def test_the_penalty_of_a_whole_answer_is_part_of_its_reward():
    first, second = GroupMean()(one_prompt([1.0, 1.0], penalty=0.5)).advantages
    assert [first[0], second[0]] == pytest.approx([0.25, -0.25])


def test_groups_do_not_see_each_other():
    one, other = GroupMean()(one_prompt([1.0, 0.0])).advantages, GroupMean()(one_prompt([1.0, 0.0, 7.0, 5.0], per_prompt=2)).advantages
    np.testing.assert_allclose(np.concatenate(other[:2]), np.concatenate(one))
    assert other[2][0] == 1.0


def test_the_scale_of_a_batch_is_that_of_all_its_rewards():
    advantages = GroupMean(scale="batch", std_ddof=0)(one_prompt([1.0, 0.0, 7.0, 5.0], per_prompt=2)).advantages
    assert advantages[0][0] == pytest.approx(0.5 / np.std([1, 0, 7, 5]), rel=1e-3)


def test_bnpo_divides_by_the_density_of_a_beta_distribution():
    """Groups whose means are 1/4, 1/2 and 3/4: a = b = 5/2, so it is Beta(11/6, 11/6); its density at 1/2 by hand."""
    rewards = np.array([[1.0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]])
    density = beta_density(rewards)
    assert density[1] == pytest.approx(math.gamma(11 / 3) / math.gamma(11 / 6) ** 2 * 0.5 ** (5 / 3))
    assert density[0] == pytest.approx(density[2]) == pytest.approx(density[1] * (0.25 * 0.75 / 0.25) ** (5 / 6))
    advantages = GroupMean(scale="beta")(one_prompt(rewards.ravel().tolist(), per_prompt=4)).advantages
    assert advantages[0][0] == pytest.approx(0.75 / density[0])


def test_no_other_beta_distribution_has_a_smaller_variance():
    """The variance of the slope under Beta(a, b) is in proportion to B(alpha, beta)^2 B(a + 3 - 2 alpha, b + 3 - 2 beta) (BNPO, sec. 4)."""
    log_B = lambda x, y: math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)  # noqa: E731
    a, b = 2.0, 0.5
    variance = lambda alpha, beta: 2 * log_B(alpha, beta) + log_B(a + 3 - 2 * alpha, b + 3 - 2 * beta)  # noqa: E731
    least = variance(1 + a / 3, 1 + b / 3)
    assert all(variance(1 + a / 3 + dx, 1 + b / 3 + dy) > least for dx, dy in [(0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1), (0.05, -0.05)])


def test_means_that_do_not_differ_leave_bnpo_without_a_scale():
    assert beta_density(np.array([[1.0, 0], [0, 1]])).tolist() == [1, 1]
    assert beta_density(np.array([[1.0, 1], [0, 0]])).tolist() == [1, 1]
    with pytest.raises(ConfigError, match="scale=beta takes rewards from 0 to 1, one is -1"):
        beta_density(np.array([[1.0, -1]]))


def test_versus_is_what_is_won_above_a_half_less_the_price():
    answers = replace(one_prompt([7.0, 8.0], penalty=0.1), wins=np.array([0.9, 0.4]))
    np.testing.assert_allclose(np.concatenate(Versus()(answers).advantages), [0.3, -0.3, -0.3])


def test_distillation_credits_each_token_alone_or_with_all_that_follow():
    answers = replace(one_prompt([0.0, 0.0], penalty=0.25), teacher=[np.array([1.0]), np.array([-1.0, 2.0])])
    np.testing.assert_allclose(np.concatenate(Distillation()(answers).advantages), [0.75, -1.25, 1.75])
    np.testing.assert_allclose(np.concatenate(Distillation(gamma=1.0)(answers).advantages), [0.75, 0.5, 1.75])


def test_importance_multiplies_the_loss_and_its_kl_penalty():
    columns = {"old_logprobs": [0.0, 0.0], "advantages": [1.0, 1.0], "ref_logprobs": [-1.0, -1.0]}
    out = SimpleNamespace(logprobs_BL=at_the_answer(0, 0), entropy_BL=at_the_answer(0, 0))
    for objective in (PolicyGradient(kl_coef=0.1), CISPO(kl_coef=0.1), SAPO(kl_coef=0.1), REINFORCE(kl_coef=0.1)):
        plain, _ = objective(out, one_token_answers(**columns))
        weighed, _ = objective(out, one_token_answers(**columns, importance=[1.0, 0.5]))
        torch.testing.assert_close(weighed, plain * torch.tensor([[1.0], [0.5]]))


@pytest.mark.parametrize(("low", "high"), [(0.5, 1.1), (0.9, 1.5)])
def test_what_is_clipped_is_counted_by_its_side(low, high):
    batch = one_token_answers(old_logprobs=[0.0, 0.0], advantages=[1.0, 1.0])
    out = SimpleNamespace(logprobs_BL=at_the_answer(np.log(low), np.log(high)), entropy_BL=at_the_answer(0.5, 1.5))
    _, metrics = PolicyGradient()(out, batch)
    found = {name: measure([float(each) for each in sums]) for name, sums in metrics.items()}
    assert (found["clip_low"], found["clip_high"], found["clip_fraction"]) == (0.5 * (low < 0.8), 0.5 * (high > 1.2), 0.5)
    assert found["entropy"] == 1.0
    assert found["ratio_error"] == pytest.approx((1 / low + high) / 2)
    assert found["effective_share"] == pytest.approx((low + high) ** 2 / (2 * (low**2 + high**2)))


def test_batch_mean_whitens_rewards_to_go_over_all_tokens():
    """Two answers, of one and two tokens, each token costing 0.5: rewards to go 1.5, then 1 and 1.5 of a score of 2."""
    advantages = BatchMean()(one_prompt([2.0, 2.0], penalty=0.5)).advantages
    np.testing.assert_allclose(np.concatenate(advantages), whiten(np.array([1.5, 1.0, 1.5])))
    assert [len(tokens) for tokens in advantages] == [1, 2]


def test_batch_mean_of_groups_takes_the_mean_of_the_prompt_off_first():
    advantages = BatchMean(is_grouped=True)(one_prompt([3.0, 1.0, 10.0, 8.0], per_prompt=2)).advantages
    np.testing.assert_allclose(np.concatenate(advantages), whiten(np.array([1.0, -1, -1, 1, 1, 1, -1, -1, -1, -1])))


def test_the_greedy_answer_is_the_baseline_of_remax():
    first, second = GreedyBaseline()(one_prompt([1.0, 0.25], greedy=[0.5, 0.5])).advantages
    assert [first.tolist(), second.tolist()] == [[0.5], [-0.25, -0.25]]


def test_gae_credits_each_token_and_whitens_over_the_phase():
    answers = Answers(np.array([1.0, 2.0]), [np.zeros(2), np.full(1, 0.5)], 1, [np.array([0.2, 0.3]), np.array([0.4])])
    credit = GAE(lam=1.0)(answers)
    np.testing.assert_allclose(np.concatenate(credit.advantages), whiten(np.array([1 - 0.2, 1 - 0.3, 1.5 - 0.4])))
    np.testing.assert_allclose(np.concatenate(credit.returns), [1, 1, 1.5])


@pytest.mark.parametrize("rule", [GroupMean(), GroupMean(scale="std"), GroupMean(scale="batch", std_ddof=0)])
@pytest.mark.parametrize("size", [1, 4])
def test_equal_rewards_earn_nothing(rule, size):
    assert not np.concatenate(rule(one_prompt([0.3] * size)).advantages).any()


def test_soft_overlong_punishment():
    lengths = np.array([16_384, 18_432, 20_480, 20_481])
    assert overlong(lengths, 20_480, 4_096).tolist() == [0, -0.5, -1, -1]
    assert not overlong(lengths, 20_480, 0).any()


def test_whiten():
    rewards = np.arange(1.2, 2.01, 0.1)
    white = whiten(rewards)
    np.testing.assert_allclose(white + 1.6, [0.0508, 0.4381, 0.8254, 1.2127, 1.6, 1.9873, 2.3746, 2.7619, 3.1492], atol=5e-5)
    assert [white.mean(), white.std()] == pytest.approx([0, 1], abs=1e-6)


@pytest.mark.parametrize(
    ("how", "number"),
    [("token", (1 + 2 + 3 + 10) / 4), ("sequence", (2 + 10) / 2), ("sequence_sum", 16 / 2), ("length", (1 + 2 + 3 + 10) / (2 * 5))],
)
def test_reductions(how, number):
    """Two answers, of three tokens and of one."""
    batches = pack([(example([0, 1, 1, 1]),), (example([0, 1]),)], rows=1, length=8)
    loss = torch.tensor([[9.0, 1, 2, 3, 9, 10, 9, 9]])
    assert float(reduce(loss, batches[0], Counts.of(batches, 5), how)) == pytest.approx(number)


def test_a_weighted_token_counts_as_much_as_its_weight():
    batches = pack([(example([0, 1, 1], [0, 1, 3]),)], rows=1, length=4)
    assert float(reduce(torch.tensor([[0.0, 8, 4, 7]]), batches[0], Counts.of(batches), "token")) == (8 + 3 * 4) / 4


@pytest.mark.parametrize(
    ("objective", "ratio", "advantage", "loss"),
    [
        (PolicyGradient(max_ratio=4.0), 10.0, -1, 4.0),
        (PolicyGradient(max_ratio=4.0), 10.0, 1, -1.2),
        (SAPO(), 1.0, 1, -2.0),
        (SAPO(), 1.5, 1, -2.4898373248),
        (SAPO(), 1.5, -1, 2.3935854792),
        (CISPO(max_ratio=5.0), 9.0, 1, -5 * np.log(9)),
        (CISPO(max_ratio=5.0), 2.0, -1, 2 * np.log(2)),
        (REINFORCE(), 2.0, 0.5, -0.5 * np.log(2)),
    ],
)
def test_policy_losses(objective, ratio, advantage, loss):
    batch = one_token_answers(old_logprobs=[0.0], advantages=[advantage])
    out = SimpleNamespace(logprobs_BL=at_the_answer(np.log(ratio)), entropy_BL=at_the_answer(0))
    assert float(objective(out, batch)[0][0, 1]) == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize("objective", [PolicyGradient(ratio="sequence", clip_high=9.0)])
def test_the_ratio_of_a_sequence_is_the_geometric_mean_of_its_tokens(objective):
    [batch] = pack(
        [
            (example([0, 1, 1, 1], old_logprobs=np.zeros(4), advantages=np.ones(4)),),
            (example([0, 1], old_logprobs=[0, 0], advantages=[1, 1]),),
        ],
        rows=1,
        length=6,
    )
    out = SimpleNamespace(logprobs_BL=torch.tensor([[0.0, 0.1, -0.2, 0.3, 0.0, 0.5]], dtype=DOUBLE), entropy_BL=torch.zeros(1, 6))
    loss_BL, _ = objective(out, batch)
    assert loss_BL[0, [1, 2, 3, 5]].tolist() == pytest.approx([-1.0689391057472464] * 3 + [-np.exp(0.5)])


def test_a_bound_that_the_clip_would_hide_is_refused():
    with pytest.raises(ConfigError, match="max_ratio"):
        PolicyGradient(max_ratio=1.1)


def test_the_share_of_tokens_that_carry_a_step_is_one_number_however_it_is_cut():
    """Ratios 1 and 2 in one micro-batch, 3 and 0 in the other: (1 + 2 + 3)^2 / (4 x (1 + 4 + 9)); the mean of either's share is .7."""
    batch, sums = one_token_answers(old_logprobs=[0.0, 0.0], advantages=[1, 1]), np.zeros(3)
    for ratios in ((1.0, 2.0), (3.0, np.exp(-50.0))):
        out = SimpleNamespace(logprobs_BL=at_the_answer(*np.log(ratios)), entropy_BL=at_the_answer(0, 0))
        sums += [float(each) for each in PolicyGradient()(out, batch)[1]["effective_share"]]
    assert measure(sums.tolist()) == pytest.approx(36 / 56)
    assert measure([0.0, 0.0, 0.0]) is None
