"""Answers of two tokens, enumerated: which part of the slope of the KL between whole answers a penalty has, and approx_kl."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from trivium.core.types import example
from trivium.data.pack import pack
from trivium.learn.credit import GAE, Answers, GreedyBaseline
from trivium.learn.objectives.policy import CISPO, REINFORCE, SAPO, PolicyGradient, PolicyLoss
from trivium.learn.reduce import measure

WORDS = 3
ANSWERS = [(first, second) for first in range(WORDS) for second in range(WORDS)]
DOUBLE = torch.float64


class Speaker:
    """What is said first, and what after each first word, as logits."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.first = torch.randn(WORDS, generator=generator, dtype=DOUBLE, requires_grad=True)
        self.second = torch.randn(WORDS, WORDS, generator=generator, dtype=DOUBLE, requires_grad=True)

    @property
    def logprobs(self) -> torch.Tensor:
        """(answers, 2)."""
        first, second = self.first.log_softmax(-1), self.second.log_softmax(-1)
        return torch.stack([torch.stack([first[i], second[i, j]]) for i, j in ANSWERS])

    def slope(self, of: torch.Tensor) -> torch.Tensor:
        found = torch.autograd.grad(of, (self.first, self.second), allow_unused=True, materialize_grads=True)
        return torch.cat([each.flatten() for each in found])


def kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """KL(p || q) of logits, over the last dimension."""
    return (p.softmax(-1) * (p.log_softmax(-1) - q.log_softmax(-1))).sum(-1)


POLICY, REFERENCE, SAMPLER = Speaker(1), Speaker(2), Speaker(3)


def of_whole_answers() -> torch.Tensor:
    log_ratio = (POLICY.logprobs - REFERENCE.logprobs.detach()).sum(1)
    return POLICY.slope((POLICY.logprobs.sum(1).exp() * log_ratio).sum())


def with_prefixes_fixed(sampler: Speaker, *, is_reversed: bool = False) -> torch.Tensor:
    """The slope of the sum over tokens of the KL given the tokens before, at the prefixes of the sampler."""
    pairs = [(POLICY.first, REFERENCE.first.detach()), (POLICY.second, REFERENCE.second.detach())]
    first, second = (kl(q, p) if is_reversed else kl(p, q) for p, q in pairs)
    return POLICY.slope(first + (sampler.first.softmax(-1).detach() * second).sum())


def slope_of(objective: PolicyLoss, sampler: Speaker, advantages: torch.Tensor | None = None) -> torch.Tensor:
    """The expected slope of a loss that is summed over an answer, which the sampler gives as often as it does."""
    says = sampler.logprobs.detach()
    shares = says.sum(1, keepdim=True).exp().expand(-1, 2)
    [batch] = pack([(example([0, 1, 1]),) for _ in ANSWERS], rows=len(ANSWERS), length=3)
    columns = {
        "old_logprobs": says,
        "ref_logprobs": REFERENCE.logprobs.detach(),
        "advantages": torch.zeros_like(says) if advantages is None else advantages,
    }
    batch = replace(batch, columns={name: at_the_answer(values) for name, values in columns.items()})
    out = SimpleNamespace(logprobs_BL=at_the_answer(POLICY.logprobs), entropy_BL=torch.zeros(len(ANSWERS), 3))
    loss_BL, _ = objective(out, batch)
    return POLICY.slope((loss_BL * at_the_answer(shares)).sum())


def at_the_answer(values: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.zeros(len(values), 1, dtype=DOUBLE), values], 1)


@pytest.mark.parametrize(
    ("objective", "sampler", "is_reversed"),
    [
        (PolicyGradient(kl_coef=1.0, kl="k2"), POLICY, False),
        (REINFORCE(kl_coef=1.0, kl="k2"), POLICY, False),
        (PolicyGradient(kl_coef=1.0, kl="k3"), POLICY, True),
        (PolicyGradient(kl_coef=1.0, kl="ratio_k3"), POLICY, False),
        (PolicyGradient(kl_coef=1.0, kl="ratio_k3"), SAMPLER, False),
        (PolicyGradient(kl_coef=1.0, kl="ratio_k3", ratio="sequence"), SAMPLER, False),
        (CISPO(kl_coef=1.0, kl="ratio_k3"), SAMPLER, False),
        (SAPO(kl_coef=1.0, kl="ratio_k3"), SAMPLER, False),
    ],
)
def test_a_kl_in_the_loss_has_the_slope_of_each_tokens_kl_with_the_prefix_held_fixed(objective, sampler, is_reversed):
    wanted = with_prefixes_fixed(sampler, is_reversed=is_reversed)
    torch.testing.assert_close(slope_of(objective, sampler), wanted, rtol=1e-10, atol=1e-12)


def test_it_leaves_out_that_the_policy_may_avoid_prefixes():
    """What is missing is half of the slope of the KL between whole answers here, and can be said exactly."""
    found, whole = slope_of(PolicyGradient(kl_coef=1.0, kl="k2"), POLICY), of_whole_answers()
    assert float((found - whole).norm() / whole.norm()) == pytest.approx(0.5, abs=0.01)
    avoided = POLICY.slope((POLICY.first.softmax(-1) * kl(POLICY.second, REFERENCE.second).detach()).sum())
    torch.testing.assert_close(found + avoided, whole, rtol=1e-10, atol=1e-12)


def test_k2_is_wrong_where_another_policy_sampled():
    """So it is refused with more than one update a phase."""
    found, wanted = slope_of(PolicyGradient(kl_coef=1.0, kl="k2"), SAMPLER), with_prefixes_fixed(SAMPLER)
    assert (found - wanted).norm() > 0.3 * wanted.norm()


@pytest.mark.parametrize("rule", ["whole answers", "rewards to go"])
def test_k1_in_the_reward_has_the_slope_of_the_kl_between_whole_answers(rule):
    price, scores = 0.7, np.random.default_rng(0).normal(size=len(ANSWERS))
    penalties = (price * (POLICY.logprobs - REFERENCE.logprobs)).detach().numpy()
    if rule == "whole answers":
        credit = GreedyBaseline()(Answers(scores, list(penalties), 1, None, np.zeros(len(ANSWERS)))).advantages
    else:
        rewards = [np.array([-first, score - last]) for (first, last), score in zip(penalties, scores, strict=True)]
        credit = [GAE(gamma=1.0, lam=1.0).of_rewards(each, np.zeros(2))[0] for each in rewards]
    found = slope_of(REINFORCE(), POLICY, torch.from_numpy(np.stack(credit)))
    expected = POLICY.slope((POLICY.logprobs.sum(1).exp() * torch.from_numpy(scores)).sum())
    torch.testing.assert_close(-found, expected - price * of_whole_answers(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("objective", [PolicyGradient(), CISPO(), SAPO(), REINFORCE()], ids=lambda each: each.kind)
@pytest.mark.parametrize(("old", "new", "expected"), [([1, 1], [0.9, 0.1], 0.5108256238), ([1, 3], [0.5, 0.5], 0.1308120359)])
def test_approx_kl_is_that_of_the_policy_from_the_sampler(objective, old, new, expected):
    """old: how often each of two words was drawn. The KLs in the other direction are .368 and .144."""
    drawn = np.repeat([0, 1], old)
    says = torch.tensor(np.log(np.array(old) / sum(old))[drawn])[:, None]
    columns = {"old_logprobs": at_the_answer(says), "advantages": torch.zeros(len(drawn), 2)}
    [batch] = pack([(example([0, 1]),) for _ in drawn], rows=len(drawn), length=2)
    logprobs = at_the_answer(torch.tensor(np.log(new)[drawn])[:, None])
    out = SimpleNamespace(logprobs_BL=logprobs, entropy_BL=torch.zeros(len(drawn), 2))
    _, metrics = objective(out, replace(batch, columns=columns))
    assert float(measure(metrics["approx_kl"])) == pytest.approx(expected, abs=1e-6)
