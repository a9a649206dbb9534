from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from trivium.core.errors import DivergedError
from trivium.core.types import Example
from trivium.generate.sampling import Sampling
from trivium.learn.credit import GAE, BatchMean, Distillation, GreedyBaseline, GroupMean, LeaveOneOut, Versus
from trivium.learn.kl import AdaptiveKL
from trivium.stages.computing.rollouts import MAX_BLIND_PHASES, MAX_IMPORTANCE, MAX_REFILLS, Rollouts
from trivium.stages.recipe import single

PROMPT = np.array([1, 2], np.int32)


class Parrot:
    """An engine whose answer number i is i + 1 tokens long, each with log-prob -1; every second one does not stop."""

    def generate(self, prompts, sampling, *, seed, purpose, step):
        answers = []
        for number, prompt in enumerate(prompts):
            tokens = np.concatenate([prompt, np.full(number + 1, 3)]).astype(np.int32)
            mask = np.r_[np.zeros(len(prompt)), np.ones(number + 1)].astype(np.float32)
            answers.append(Example(tokens, mask, {"old_logprobs": -mask}, {"stopped": number % 2 == 0}))
        return answers


def rollouts(credit, **options):
    settings = {"prompts_per_phase": 2, "answers": 1, "passes": 2, "minibatches": 1, "kl_coef": 0.5, "missing_end_penalty": -7.0}
    settings |= {"refill": False, "is_paired": False, "has_credit": True, "needs_kl": True, "adaptive_kl": None}
    settings |= {"missing_end": "penalty", "overlong_margin": 0}
    settings |= {"sampling": Sampling(), "credit": credit, **options}
    return Rollouts(
        options=SimpleNamespace(**settings), engine=Parrot(), prompts=[PROMPT] * 5, seed=1,
        score=lambda answers, owners: np.full(len(answers), 2.0),
        reference=lambda answers: [np.full(len(answer.tokens), -3.0, np.float32) for answer in answers],
        values=lambda answers: [np.zeros(len(answer.tokens), np.float32) for answer in answers],
    )  # fmt: skip


def test_an_answer_without_an_end_gets_the_penalty_instead_of_its_score():
    source = rollouts(GAE(lam=1.0))
    source(0)
    assert source.measured["reward"] == pytest.approx((2.0 - 7.0) / 2)
    assert source.measured["stop_rate"] == 0.5


def test_kl_is_summed_over_the_tokens_of_an_answer():
    source = rollouts(GAE())
    source(0)
    assert source.measured["kl"] == pytest.approx((1 * 2.0 + 2 * 2.0) / 2)  # log policy - log reference = 2 a token


def test_a_kl_that_nothing_depends_on_is_measured_on_the_answers_to_some_prompts():
    source, read = rollouts(GroupMean(), prompts_per_phase=5, answers=2, kl_coef=0.0, needs_kl=False), []
    reference = source.reference
    source.reference = lambda answers: (read.append(len(answers)), reference(answers))[1]
    groups = source(0)
    assert read == [4]  # 2 of 5 prompts, one in 4 begun
    assert source.measured["kl"] == pytest.approx(np.mean([2.0, 4.0, 6.0, 8.0]))
    assert not any("ref_logprobs" in item.columns for group in groups for item in group)
    everything = rollouts(GroupMean(), prompts_per_phase=5, answers=2, kl_coef=0.0)(0)
    for group, other in zip(groups, everything, strict=True):
        for item, same in zip(group, other, strict=True):
            assert item.columns["advantages"].tolist() == same.columns["advantages"].tolist()


def test_returns_are_score_minus_the_price_of_every_later_nat():
    [first, second] = sorted((group[0] for group in rollouts(GAE(lam=1.0))(0)), key=lambda item: len(item.tokens))
    np.testing.assert_allclose(first.columns["returns"], [0, 0, 2 - 0.5 * 2])
    np.testing.assert_allclose(second.columns["returns"], [0, 0, -7 - 0.5 * 4, -7 - 0.5 * 2])


def test_a_phase_is_sampled_once_and_served_in_every_pass():
    source = rollouts(GAE())
    first = {id(group[0]) for group in source(0)}
    assert {id(group[0]) for group in source(1)} == first
    assert {id(group[0]) for group in source(2)} != first


def test_minibatches_share_out_a_phase():
    source = rollouts(GAE(), prompts_per_phase=4, minibatches=2)
    assert sorted(len(group[0].tokens) for step in (0, 1) for group in source(step)) == [3, 4, 5, 6]


def test_group_credit_sums_to_zero_and_covers_the_answer_only():
    source = rollouts(GroupMean(), prompts_per_phase=1, answers=2, kl_coef=0.0)
    [group] = source(0)
    assert [item.columns["advantages"].tolist() for item in group] == [[0, 0, 4.5], [0, 0, -4.5, -4.5]]


def test_the_report_is_given_once_a_phase():
    source = rollouts(GAE())
    source(0)
    metrics = {}
    source.report(1, metrics)
    assert not metrics
    source.report(2, metrics)
    assert "kl" in metrics


class Dice:
    """An engine whose answers are one token, drawn from the seeds it is given: the score of an answer is that token."""

    def __init__(self):
        self.asked = []

    def generate(self, prompts, sampling, *, seed, purpose, step):
        self.asked.append((purpose, len(prompts)))
        rng = np.random.default_rng([seed, step, *map(ord, purpose)])
        tokens = rng.integers(0, 2, len(prompts)) if sampling.temperature else np.full(len(prompts), 1)
        return [
            Example(
                np.r_[prompt, token].astype(np.int32), np.float32([0, 0, 1]), {"old_logprobs": np.float32([0, 0, -1])}, {"stopped": True}
            )
            for prompt, token in zip(prompts, tokens, strict=True)
        ]


def diced(credit, *, constant=False, **options):
    source = rollouts(credit, **options)
    source.engine = Dice()
    source.score = lambda answers, _: np.array([0.5 if constant else float(item.tokens[-1]) for item in answers])
    return source


def test_prompts_whose_answers_are_equally_good_are_replaced_until_all_teach_something():
    source = diced(GroupMean(), prompts_per_phase=8, answers=2, kl_coef=0.0, refill=True)
    groups = source(0)
    assert all({item.tokens[-1] for item in group} == {0, 1} for group in groups)
    assert source.measured["replaced_share"] > 0
    assert source.measured["equal_groups"] == 0
    assert [purpose for purpose, _ in source.engine.asked][:2] == ["rollout", "refill 0"]
    again = diced(GroupMean(), prompts_per_phase=8, answers=2, kl_coef=0.0, refill=True)(0)
    assert [[item.tokens.tolist() for item in group] for group in again] == [[item.tokens.tolist() for item in group] for group in groups]


def test_refilling_ends_where_no_prompt_teaches_anything():
    source = diced(GroupMean(), constant=True, prompts_per_phase=2, answers=2, refill=True)
    source(0)
    assert len(source.engine.asked) == 1 + MAX_REFILLS


def test_a_run_whose_rewards_never_differ_is_ended_with_the_reason():
    source = diced(GroupMean(), constant=True, answers=2, passes=1)
    for step in range(MAX_BLIND_PHASES - 1):
        source(step)
    kept = source.state()
    with pytest.raises(DivergedError, match=r"got the reward 0\.5, so there is nothing to learn"):
        source(MAX_BLIND_PHASES - 1)
    resumed = diced(GroupMean(), constant=True, answers=2, passes=1)
    resumed.load_state(kept)
    with pytest.raises(DivergedError, match="nothing to learn"):
        resumed(MAX_BLIND_PHASES - 1)


BLIND = [
    (LeaveOneOut(), {}, False),
    (GroupMean(), {}, False),
    (BatchMean(is_grouped=True), {}, False),
    (GAE(), {"is_paired": True, "has_credit": False}, False),
    (GreedyBaseline(), {}, False),
    (Versus(), {}, True),
]


@pytest.mark.parametrize(("credit", "options", "has_opponent"), BLIND)
def test_a_reward_that_depends_on_the_prompt_alone_ends_what_compares_answers_to_one_prompt(credit, options, has_opponent):
    source = diced(credit, answers=2, passes=1, **options)
    source.score = lambda answers, owners: np.array(owners, np.float64)
    source.opponent = Dice() if has_opponent else None
    for step in range(MAX_BLIND_PHASES - 1):
        source(step)
    with pytest.raises(DivergedError, match="every answer of the last 5 phases got the same reward as those that it is compared with"):
        source(MAX_BLIND_PHASES - 1)


@pytest.mark.parametrize("credit", [GAE(), BatchMean()])
def test_what_compares_with_answers_to_other_prompts_learns_from_such_a_reward(credit):
    source = diced(credit, answers=2, passes=1, prompts_per_phase=5)
    source.score = lambda answers, owners: np.array(owners, np.float64)
    for step in range(2 * MAX_BLIND_PHASES):
        source(step)


def test_one_group_that_differs_begins_the_count_again():
    source = diced(GroupMean(), answers=2, passes=1)
    for step in range(2 * MAX_BLIND_PHASES):
        source.score = lambda answers, owners, step=step: np.array(owners) + (step % 4 == 0) * np.arange(len(answers))
        source(step)


def test_a_preference_loss_gets_the_best_before_the_worst_with_the_references_log_probs():
    source = diced(GAE(), is_paired=True, prompts_per_phase=8, answers=4)
    groups = source(0)
    assert [len(group) for group in groups] == [2] * 8
    assert all(group[0].tokens[-1] >= group[1].tokens[-1] for group in groups)
    assert all("ref_logprobs" in item.columns for group in groups for item in group)


class Ending(Parrot):
    """The same, whose answers all stop."""

    def generate(self, prompts, sampling, *, seed, purpose, step):
        answers = super().generate(prompts, sampling, seed=seed, purpose=purpose, step=step)
        return [replace(answer, meta={"stopped": True}) for answer in answers]


def paired(scores, **options):
    """The lengths of the answers of each pair, the better first; scores: of the answers, which are 1, 2, 3 ... tokens long."""
    source = rollouts(GAE(), is_paired=True, has_credit=False, **options)
    source.engine, source.score = Ending(), lambda answers, _: np.array(scores)
    return [tuple(len(item.tokens) - len(PROMPT) for item in group) for group in source(0)]


def test_a_pair_is_the_best_answer_and_the_worst_whatever_lies_between():
    pairs = paired([2.0, 9.0, -3.0, 5.0, 1.0, -7.0, 6.0, 8.0], prompts_per_phase=2, answers=4)
    assert sorted(pairs) == [(2, 3), (8, 6)]


def test_equal_answers_are_put_in_an_order_by_lot():
    pairs = paired([1.0] * 48, prompts_per_phase=24, answers=2)
    first = sum(better < worse for better, worse in pairs)
    assert 4 <= first <= 20  # of 24 tosses; fewer or more in 1 of 4,000 seeds
    assert paired([1.0] * 48, prompts_per_phase=24, answers=2) == pairs


def test_the_greedy_answer_is_scored_once_for_each_prompt():
    source = diced(GreedyBaseline(), prompts_per_phase=4, answers=2, kl_coef=0.0)
    groups = source(0)
    assert source.engine.asked[-1] == ("greedy", 4)
    assert {(int(item.tokens[-1]), float(item.columns["advantages"][-1])) for group in groups for item in group} <= {(1, 0.0), (0, -1.0)}


def test_answers_that_are_cut_off_may_be_left_out_of_the_loss_but_not_of_their_group():
    source = rollouts(GroupMean(), prompts_per_phase=1, answers=2, kl_coef=0.0, missing_end="mask")
    source.score = lambda answers, _: np.array([2.0, 1.0])
    [[first, second]] = source(0)
    assert first.columns["advantages"].tolist() == [0, 0, 0.5]
    assert first.loss_mask.any()
    assert not second.loss_mask.any()


def test_long_answers_lose_before_they_are_cut_off():
    source = rollouts(GAE(), sampling=Sampling(max_new_tokens=3), overlong_margin=2)
    source(0)  # answers of one token, which stops, and of two, which does not
    assert source.measured["reward"] == pytest.approx((2.0 + (-7.0 - 0.5)) / 2)


def test_the_price_of_a_nat_follows_the_kl_and_a_run_that_goes_on_knows_it():
    source = rollouts(GAE(), adaptive_kl=AdaptiveKL(target=1.5, horizon=20), passes=1)
    for step in range(2):  # 3 nats an answer, twice the target: up by a fifth of 2 / 20 a phase
        source(step)
    assert source.measured["kl_coef"] == pytest.approx(0.5 * 1.02)
    again = rollouts(GAE(), adaptive_kl=AdaptiveKL(target=1.5, horizon=20), passes=1)
    again.load_state(source.state())
    again(2)
    assert again.measured["kl_coef"] == pytest.approx(0.5 * 1.02**2)


def constant(value: float):
    return lambda answers: [np.full(len(answer.tokens), value, np.float32) for answer in answers]


def test_an_answer_is_worth_what_it_wins_against_the_opponents_to_the_same_prompt():
    source = diced(Versus(), prompts_per_phase=1, answers=16, kl_coef=0.0)
    source.opponent = Dice()
    [group] = source(0)
    [(purpose, asked)] = source.opponent.asked
    assert (purpose, asked) == ("opponent", 16)
    others = source.opponent.generate([PROMPT] * 16, Sampling(), seed=1, purpose="opponent", step=0)
    won = [1 / (1 + np.exp(float(other.tokens[-1]) - item.tokens[-1])) for item, other in zip(group, others, strict=True)]
    np.testing.assert_allclose([item.columns["advantages"][-1] for item in group], np.array(won) - 0.5, atol=1e-6)
    assert source.measured["win_rate"] == pytest.approx(np.mean(won))


def test_a_pair_of_xpo_is_an_answer_of_the_policy_and_one_of_the_reference():
    source = diced(GAE(), is_paired=True, has_credit=False, prompts_per_phase=8, answers=1)
    source.opponent = Dice()
    groups = source(0)
    assert [len(group) for group in groups] == [2] * 8
    assert all(better.tokens[-1] >= worse.tokens[-1] for better, worse in groups)
    assert all(sum(item.columns["from_reference"][-1] for item in group) == 1 for group in groups)
    assert all(set(item.columns) == {"old_logprobs", "ref_logprobs", "from_reference"} for group in groups for item in group)


def test_a_teacher_is_the_reward_and_credits_each_token():
    source = rollouts(Distillation(), kl_coef=0.0)
    source.teacher = constant(-0.25)  # the policy says -1
    [first, second] = sorted((group[0] for group in source(0)), key=lambda item: len(item.tokens))
    assert first.columns["advantages"].tolist() == [0, 0, 0.75]
    assert second.columns["advantages"].tolist() == [0, 0, 0.75, 0.75]
    assert source.measured["reward"] == pytest.approx(0.75 * 1.5)  # and no penalty for what was cut off


def test_where_distributions_are_learned_answers_have_no_credit_but_may_be_masked():
    source = rollouts(GAE(), has_credit=False, missing_end="mask")
    source.teacher = constant(-0.25)
    [first, second] = sorted((group[0] for group in source(0)), key=lambda item: len(item.tokens))
    assert "advantages" not in first.columns
    assert (first.loss_mask.any(), second.loss_mask.any()) == (True, False)


def test_the_trainers_own_log_probs_are_the_anchor_where_the_sampler_is_another():
    source, lines = rollouts(GAE(lam=1.0)), []
    source.trainer, source.log = constant(-0.6), lines.append  # the sampler said -1
    items = [group[0] for group in source(0)]
    assert all(set(item.columns["old_logprobs"].tolist()) == {np.float32(-0.6)} for item in items)
    counted = np.concatenate([item.columns["importance"][item.loss_mask > 0] for item in items])
    np.testing.assert_allclose(counted, np.exp(0.4), rtol=1e-6)
    assert source.measured["kl"] == pytest.approx(1.5 * (3 - 0.6))
    assert source.measured["sampler_mismatch"] == pytest.approx(np.exp(0.4))
    assert source.measured["sampler_effective_share"] == pytest.approx(1.0)
    assert "by a factor above 1.05 on average" in lines[0]


def test_importance_is_truncated_and_what_is_left_of_the_samples_is_reported():
    source = rollouts(GAE(lam=1.0))
    source.trainer = lambda answers: [np.full(len(a.tokens), 1.0 if len(a.tokens) == 3 else -2.0, np.float32) for a in answers]
    items = sorted((group[0] for group in source(0)), key=lambda item: len(item.tokens))
    assert [item.columns["importance"][-1] for item in items] == pytest.approx([MAX_IMPORTANCE, np.exp(-1)])
    weights = np.array([2.0, np.exp(-1), np.exp(-1)])
    assert source.measured["sampler_effective_share"] == pytest.approx(weights.sum() ** 2 / (3 * (weights**2).sum()), rel=1e-6)
    assert source.measured["sampler_mismatch"] == pytest.approx((np.exp(2) + 2 * np.exp(1)) / 3, rel=1e-6)


def test_a_sampler_that_should_be_the_trainer_is_watched_at_the_first_update_of_a_phase():
    source, lines = rollouts(GAE()), []
    source.log = lines.append
    source(0)
    source.report(1, {"ratio_error": 1.02})
    source.report(2, {"ratio_error": 1.5})  # the second pass: the policy has moved
    assert not lines
    source.report(3, {"ratio_error": 1.06})
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ({"method": "dapo"}, False), ({"method": "dapo", "guard": {"max_kl": 5.0}}, True), ({"method": "dapo", "kl_coef": 0.1}, True),
        ({"method": "grpo"}, True), ({"method": "rloo"}, True), ({"method": "online_dpo"}, True),
    ],
)  # fmt: skip
def test_the_whole_kl_is_measured_where_something_depends_on_it(options, needed):
    """grpo has it in its loss, rloo in the reward, a preference loss compares with the reference, a guard stops by it."""
    stage = single(
        "reinforce", {"model": "base", "prompts": "p", "phases": 1, "rewards": [{"kind": "length", "max_words": 9}], **options}
    ).stages["reinforce"]
    assert stage.needs_kl == needed
