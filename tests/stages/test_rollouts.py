from types import SimpleNamespace

import numpy as np
import pytest

from trivium.core.types import Example
from trivium.generate.sampling import Sampling
from trivium.learn.credit import GAE, GroupMean
from trivium.stages.rollouts import Rollouts

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
    settings |= {"refill": False, "is_paired": False}
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
