"""The closed form of RLHF: with reference q and rewards r the optimum is q exp(r / beta) / Z; every method must arrive there.

One prompt, one token to say, three choices. The policies are real models and go through the real objectives, credit rules and
Trainer. The loss mask is how much a token counts, so a sample that was drawn n times is one row of weight n.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.learn.closed_forms import ARRIVALS, BETA, OPTIMUM, REFERENCE, REWARD, WINS
from tests.nn.tiny import tiny_model
from trivium.core.types import Example, Group, example
from trivium.data.pack import pack
from trivium.learn.credit import GAE, Answers, BatchMean, CreditRule, GreedyBaseline, GroupMean, LeaveOneOut
from trivium.learn.kl import kl_estimate
from trivium.learn.objectives import Objective, Value
from trivium.learn.objectives.policy import CISPO, REINFORCE, SAPO, PolicyGradient
from trivium.learn.objectives.preference import AOT, BCO, DPO
from trivium.learn.reduce import Counts, reduce
from trivium.learn.schedules import Schedule
from trivium.nn.model import Model
from trivium.train.annotate import column_of, logprobs
from trivium.train.trainer import Trainer

K3_OPTIMUM = [0.1171918526, 0.1323621949, 0.7504459526]  # beta reference / (c - reward): of KL(reference || policy)
STEPS, SAMPLES = 120, 1000
SAID = [example([0, choice]) for choice in range(3)]


def trainer(model: Model, objective: Objective, reference: Model | None = None) -> Trainer:
    adam = torch.optim.Adam(model.parameters(), lr=0.02)
    return Trainer("policy", model, objective, [adam], schedule=Schedule(decay_share=0.5), steps=2 * STEPS, reference=reference)


def policy_logprobs(model: Model) -> np.ndarray:
    return np.array([column[1] for column in column_of(model, SAID, logprobs, rows=3, length=2)])


def draw(log_policy: np.ndarray, step: int) -> np.ndarray:
    """SAMPLES choices, evenly spread over the distribution: counts are right to one sample."""
    place = (np.arange(SAMPLES) + np.random.default_rng(step).uniform()) / SAMPLES
    return np.searchsorted(np.exp(log_policy).cumsum(), place).clip(max=2)


def rows(choices: np.ndarray, **columns: np.ndarray) -> list[Group]:
    """One row for each choice that was drawn, as heavy as it was frequent. columns: one entry a choice."""
    counts = np.bincount(choices, minlength=3)
    drawn = np.flatnonzero(counts)
    return [
        (example([0, choice], [0, counts[choice]], **{name: [0, values[choice]] for name, values in columns.items()}),) for choice in drawn
    ]


def by_choice(choices: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values of samples, which depend on the choice alone, as one entry a choice."""
    table = np.zeros(3)
    table[choices] = values
    return table


def ppo(policy: Trainer, critic: Trainer, step: int) -> None:
    """KL (k1) in the reward, a critic, two passes over the samples."""
    old, log_reference = policy_logprobs(policy.model), np.log(REFERENCE)
    choices = draw(old, step)
    value = column_of(critic.model, SAID[:1], lambda out, _: out.values_BL, rows=1, length=2)[0][1]
    kl = kl_estimate(torch.from_numpy(old - log_reference), "k1").numpy()
    credit = [GAE().of_rewards(np.array([reward]), np.array([value])) for reward in REWARD - BETA * kl]
    columns = {"old_logprobs": old, "advantages": np.array([a[0] for a, _ in credit]), "returns": np.array([r[0] for _, r in credit])}
    batches = pack(rows(choices, values=np.full(3, value), **columns), rows=3, length=2)
    for _ in range(2):
        policy.step(2 * step, batches)
        critic.step(2 * step, batches)


def grpo(policy: Trainer, step: int, *, kl_in_reward: bool, rule: CreditRule = GroupMean(), passes: int = 2) -> None:  # noqa: B008
    """The samples of the prompt are one group; no critic. A rule gives every sample of a choice the same advantage."""
    old, log_reference = policy_logprobs(policy.model), np.log(REFERENCE)
    choices = draw(old, step)
    penalties = [np.array([BETA * (old - log_reference)[choice] * kl_in_reward]) for choice in choices]
    greedy = np.full(SAMPLES, REWARD[old.argmax()])
    credit = rule(Answers(REWARD[choices], penalties, SAMPLES, None, greedy))
    advantages = by_choice(choices, np.concatenate(credit.advantages))
    batches = pack(rows(choices, old_logprobs=old, ref_logprobs=log_reference, advantages=advantages), rows=3, length=2)
    for _ in range(passes):
        policy.step(2 * step, batches)


def assert_arrived(model: Model, optimum: list[float]) -> None:
    np.testing.assert_allclose(np.exp(policy_logprobs(model)), optimum, atol=1e-2)


@pytest.mark.parametrize("objective", [PolicyGradient()], ids=["PPO, k1 in the reward"])
def test_ppo_with_the_kl_in_the_reward_arrives(objective):
    policy = trainer(tiny_model(vocab_size=3), objective)
    critic = trainer(tiny_model(vocab_size=3, has_scalar=True), Value())
    for step in range(STEPS):
        ppo(policy, critic, step)
    assert_arrived(policy.model, OPTIMUM)


@pytest.mark.parametrize(
    ("objective", "optimum"),
    [
        (PolicyGradient(), OPTIMUM),
        (PolicyGradient(kl_coef=BETA, kl="k2"), OPTIMUM),
        (PolicyGradient(kl_coef=BETA, kl="ratio_k3"), OPTIMUM),
        (PolicyGradient(kl_coef=BETA, kl="k3"), K3_OPTIMUM),
    ],
    ids=["GRPO, k1 in the reward", "GRPO, k2 in the loss", "GRPO, ratio x k3 in the loss", "GRPO as published, k3 in the loss: elsewhere"],
)
def test_grpo_without_the_standard_deviation_arrives(objective, optimum):
    policy = trainer(tiny_model(vocab_size=3), objective)
    for step in range(STEPS):
        grpo(policy, step, kl_in_reward=objective.kl_coef == 0)
    assert_arrived(policy.model, optimum)


@pytest.mark.parametrize(
    ("rule", "objective", "passes"),
    [
        (LeaveOneOut(), REINFORCE(reduction="token"), 1),
        (LeaveOneOut(), CISPO(), 2),
        (GreedyBaseline(), REINFORCE(reduction="token"), 1),
        (BatchMean(), PolicyGradient(), 2),
        (GroupMean(), SAPO(reduction="token"), 2),
        (GroupMean(), PolicyGradient(ratio="sequence"), 2),
        (GroupMean(), PolicyGradient(max_ratio=3.0, clip_high=0.28), 2),
    ],
    ids=["RLOO", "RLOO with CISPO", "ReMax", "REINFORCE++", "SAPO", "GSPO on one token", "DAPO, two-sided"],
)
def test_every_rule_and_loss_arrives_with_the_kl_in_the_reward(rule, objective, passes):
    policy = trainer(tiny_model(vocab_size=3), objective)
    for step in range(STEPS):
        grpo(policy, step, kl_in_reward=True, rule=rule, passes=passes)
    assert_arrived(policy.model, OPTIMUM)


def test_the_standard_deviation_keeps_the_order_but_not_the_optimum():
    policy = trainer(tiny_model(vocab_size=3), PolicyGradient(kl_coef=BETA, kl="k2"))
    for step in range(STEPS):
        grpo(policy, step, kl_in_reward=False, rule=GroupMean(scale="std"))
    found = np.exp(policy_logprobs(policy.model))
    assert found[0] < found[1] < found[2]
    assert np.abs(found - OPTIMUM).max() > 0.02


# --- preference losses, on the data of closed_forms.py

PAIRS = 200


def said(choice: int, **columns: float) -> Example:
    item = SAID[choice].with_columns(ref_logprobs=np.log([1, REFERENCE[choice]]).astype(np.float32))
    return item.with_columns(**{name: np.full(2, value, np.float32) for name, value in columns.items()})


def compared(wins: float, columns: Sequence[Mapping[str, float]] = ({}, {})) -> list[Group]:
    """1 against 0 and 2 against 1, in both orders, each as often as it happens. columns: of the better answer and of the worse."""
    won = round(PAIRS * wins)
    orders = [order for a, b in ((1, 0), (2, 1)) for order in [(a, b)] * won + [(b, a)] * (PAIRS - won)]
    return [tuple(said(choice, **side) for choice, side in zip(order, columns, strict=True)) for order in orders]


@pytest.mark.parametrize("arrival", ARRIVALS.values(), ids=ARRIVALS.keys())
def test_preference_losses_arrive_where_their_formulas_say(arrival):
    policy = trainer(tiny_model(vocab_size=3), arrival.objective)
    batches = pack(compared(arrival.wins, arrival.columns), rows=4 * PAIRS, length=2)
    for step in range(2 * STEPS):
        policy.step(step, batches)
    assert_arrived(policy.model, arrival.optimum)


@pytest.mark.parametrize("objective", [DPO(beta=BETA, label_noise=1 - WINS)], ids=["cdpo"])
def test_dpo_with_the_label_noise_of_the_data_needs_each_pair_once(objective):
    policy = trainer(tiny_model(vocab_size=3), objective)
    batches = pack([(said(1), said(0)), (said(2), said(1))], rows=4, length=2)
    for step in range(2 * STEPS):
        policy.step(step, batches)
    assert_arrived(policy.model, OPTIMUM)


def served(objective: Objective, groups: Sequence[Group]) -> np.ndarray:
    """The log-ratios after a training in which the loss looks at all groups before each step."""
    policy = trainer(tiny_model(vocab_size=3), objective)
    for step in range(2 * STEPS):
        read = lambda items: column_of(policy.model, items, logprobs, rows=30, length=2)  # noqa: E731
        policy.step(step, pack(objective.of_step(groups, read), rows=30, length=2))
    return policy_logprobs(policy.model) - np.log(REFERENCE)


@pytest.mark.parametrize("objective", [BCO(beta=BETA)], ids=["bco"])
def test_bcos_log_ratios_are_the_log_odds_of_being_good(objective):
    """Choice 0 is good in 20 %, 1 in 50 %, 2 in 80 % of its judgements; nothing else tells where the level lies."""
    shares = (0.2, 0.5, 0.8)
    judged = [
        (said(choice, label=label),)
        for choice, share in enumerate(shares) for label, times in ((1.0, share), (-1.0, 1 - share)) for _ in range(round(10 * times))
    ]  # fmt: skip
    np.testing.assert_allclose(np.diff(served(objective, judged)), [np.log(4) / BETA] * 2, rtol=0.05)


@pytest.mark.parametrize("objective", [AOT(beta=BETA)], ids=["aot"])
def test_aots_margin_is_that_at_which_the_sorted_margins_are_in_balance(objective):
    """1 beats 0 in 11 of 15 comparisons; the reference says u = log .3 / .5 of it, sorted 11 x u and 4 x -u beside 4 x -m and 11 x m."""
    log_ratio = served(objective, [(said(1), said(0))] * 11 + [(said(0), said(1))] * 4)
    margin, u = np.diff(log_ratio)[0] + np.log(0.3 / 0.5), np.log(0.3 / 0.5)
    pull = lambda x: 1 / (1 + np.exp(BETA * x))  # noqa: E731
    low, high = 0.0, 20.0
    for _ in range(60):
        m = (low + high) / 2
        low, high = (m, high) if 7 * pull(m - u) + 4 * pull(m + u) > 4 * pull(-m - u) else (low, m)
    assert margin == pytest.approx(low, abs=0.05)
    assert abs(low - (np.log(11 / 4) / BETA + u)) > 0.2  # where DPO would be


# --- which estimator of the KL has which gradient where, by exact enumeration of six choices


class SixChoices:
    """A policy, a reference and the policy that sampled, as logits."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        self.logits, self.reference, self.sampler = torch.randn(3, 6, generator=generator, dtype=torch.float64)
        self.logits.requires_grad_()

    @property
    def log_p(self) -> torch.Tensor:
        return self.logits.log_softmax(-1)

    @property
    def log_q(self) -> torch.Tensor:
        return self.reference.log_softmax(-1)

    def gradient(self, loss: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(loss, self.logits)[0]

    def kl_gradient(self) -> torch.Tensor:
        return self.gradient((self.log_p.exp() * (self.log_p - self.log_q)).sum())

    def reversed_kl_gradient(self) -> torch.Tensor:
        return self.gradient((self.log_q.exp() * (self.log_q - self.log_p)).sum())


def test_k1_and_k3_are_right_on_average_and_k2_is_not():
    six = SixChoices()
    p, log_ratio = six.log_p.exp(), six.log_p - six.log_q
    kl = (p * log_ratio).sum()
    torch.testing.assert_close((p * kl_estimate(log_ratio, "k1")).sum(), kl)
    torch.testing.assert_close((p * kl_estimate(log_ratio, "k3")).sum(), kl)
    assert abs((p * kl_estimate(log_ratio, "k2")).sum() - kl) > 0.05


def test_k1_in_the_reward_has_the_gradient_of_the_kl_and_in_the_loss_none():
    six = SixChoices()
    p, k1 = six.log_p.exp().detach(), kl_estimate(six.log_p - six.log_q, "k1")
    torch.testing.assert_close(six.gradient((p * k1.detach() * six.log_p).sum()), six.kl_gradient())
    torch.testing.assert_close(six.gradient((p * k1).sum()), torch.zeros(6, dtype=torch.float64))


@pytest.mark.parametrize("how", ["k2", "k3"])
def test_no_other_estimator_in_the_reward_has_the_gradient_of_the_kl(how):
    """So there is no option for it: kl_coef takes k1."""
    six = SixChoices()
    p, estimate = six.log_p.exp().detach(), kl_estimate(six.log_p - six.log_q, how)
    found, kl = six.gradient((p * estimate.detach() * six.log_p).sum()), six.kl_gradient()
    assert (found - kl).norm() > 0.3 * kl.norm()


@pytest.mark.parametrize(
    ("kl", "is_off_policy", "has_gradient_of"),
    [
        ("k2", False, SixChoices.kl_gradient),
        ("ratio_k3", False, SixChoices.kl_gradient),
        ("ratio_k3", True, SixChoices.kl_gradient),
        ("k3", False, SixChoices.reversed_kl_gradient),
    ],
)
def test_a_kl_penalty_in_the_loss_has_the_gradient_that_its_docstring_says(kl, is_off_policy, has_gradient_of):
    six = SixChoices()
    sampler = (six.sampler if is_off_policy else six.logits.detach()).log_softmax(-1)
    choices = [example([0, choice], [0, float(sampler[choice].exp())]) for choice in range(6)]
    [batch] = pack([(item,) for item in choices], rows=6, length=2)
    columns = {"old_logprobs": sampler, "ref_logprobs": six.log_q, "advantages": torch.zeros(6)}
    batch = replace(batch, columns={name: at_the_choice(values) for name, values in columns.items()})
    out = SimpleNamespace(logprobs_BL=at_the_choice(six.log_p), entropy_BL=torch.zeros(6, 2))
    loss_BL, _ = PolicyGradient(kl_coef=1.0, kl=kl)(out, batch)
    gradient = six.gradient(reduce(loss_BL, batch, Counts.of([batch]), "token"))
    torch.testing.assert_close(gradient, has_gradient_of(six), rtol=1e-6, atol=1e-6)


def at_the_choice(values: torch.Tensor) -> torch.Tensor:
    return torch.stack([torch.zeros_like(values), values], dim=1)
