"""More optima of the bandit of test_bandit.py: of Nash-MD, XPO, distillation and PPO-ptx, and with another sampler than the trainer."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.learn.closed_forms import BETA, OPTIMUM, REFERENCE, REWARD, UNIFORM
from tests.learn.test_bandit import SAID, assert_arrived, policy_logprobs, said
from tests.nn.tiny import tiny_model
from trivium.core.types import example
from trivium.data.pack import pack
from trivium.learn.credit import Answers, CreditRule, Distillation, Versus
from trivium.learn.objectives import GKD, CrossEntropy, Objective
from trivium.learn.objectives.policy import REINFORCE
from trivium.learn.objectives.preference import XPO
from trivium.learn.schedules import Schedule
from trivium.nn.batch import Batch
from trivium.train.beside import Beside
from trivium.train.trainer import Trainer

STEPS = 60


def update(
    policy: Trainer, step: int, rule: CreditRule | None = None, *, reference: np.ndarray = REFERENCE, price: float = BETA,
    wins: Callable[[np.ndarray], np.ndarray] | None = None, teacher: np.ndarray | None = None,
    sampler: Callable[[np.ndarray], np.ndarray] = lambda log_policy: log_policy,
) -> None:  # fmt: skip
    """One update on every choice, as heavy as it is probable. Without a rule an answer is worth its reward less the price.

    wins: of the policy's probabilities, how often each choice beats the opponent. sampler: the log-probs by which choices are drawn.
    """
    old = policy_logprobs(policy.model)
    answers = Answers(
        REWARD,
        list((price * (old - np.log(reference)))[:, None]),
        wins=None if wins is None else wins(np.exp(old)),
        teacher=None if teacher is None else list((np.log(teacher) - old)[:, None]),
    )
    advantages = answers.rewards() if rule is None else np.concatenate(rule(answers).advantages)
    drawn_by = sampler(old)
    policy.step(step, weighed(drawn_by, old_logprobs=old, advantages=advantages, importance=np.minimum(np.exp(old - drawn_by), 2.0)))


def weighed(drawn_by: np.ndarray, **columns: np.ndarray) -> list[Batch]:
    """One row for each choice; columns: one entry a choice."""
    filled = [{name: [0, values[choice]] for name, values in columns.items()} for choice in range(3)]
    return pack([(example([0, choice], [0, np.exp(drawn_by[choice])], **filled[choice]),) for choice in range(3)], rows=3, length=2)


BY_TOKEN = REINFORCE(reduction="token")


def policy_of(objective: Objective = BY_TOKEN, **options: Any) -> Trainer:
    model = tiny_model(vocab_size=3)
    adam = torch.optim.Adam(model.parameters(), lr=0.04)
    return Trainer("policy", model, objective, [adam], schedule=Schedule(decay_share=0.5), steps=STEPS, **options)


# --- Nash-MD: stone beats scissors, scissors beat paper, paper beats stone, nine times out of ten

CIRCLE = np.array([[0.5, 0.9, 0.1], [0.1, 0.5, 0.9], [0.9, 0.1, 0.5]])


def mixture(policy: np.ndarray, reference: np.ndarray, share: float) -> np.ndarray:
    weights = policy ** (1 - share) * reference**share
    return weights / weights.sum()


def equilibrium(reference: np.ndarray, share: float) -> list[float]:
    """The policy that is reference x exp(how often it beats the opponent that it makes / price), normalised."""
    policy = reference
    for _ in range(500):
        better = reference * np.exp(CIRCLE @ mixture(policy, reference, share) / BETA)
        policy = 0.5 * policy + 0.5 * better / better.sum()
    return policy.tolist()


@pytest.mark.parametrize(
    ("objective", "reference", "share"),
    [(BY_TOKEN, REFERENCE, 0.0), (BY_TOKEN, REFERENCE, 0.5), (BY_TOKEN, REFERENCE, 1.0), (BY_TOKEN, UNIFORM, 0.125)],
    ids=[
        "Nash-MD, self-play: the regularised equilibrium", "Nash-MD, half of the reference", "Nash-MD against the reference",
        "Nash-MD in a fair circle",
    ],
)  # fmt: skip
def test_nash_md_arrives_where_preferences_run_in_a_circle(objective, reference, share):
    policy = policy_of(objective)
    for step in range(STEPS):
        update(policy, step, Versus(), reference=reference, wins=lambda now: CIRCLE @ mixture(now, reference, share))
    assert_arrived(policy.model, equilibrium(reference, share))


def test_in_a_fair_circle_nobody_is_better_than_all():
    assert equilibrium(UNIFORM, 0.0) == pytest.approx([1 / 3] * 3)


# --- XPO, by exact enumeration: every answer of the policy beside every one of the reference, either of them the better


def xpo_optimum(objective: XPO) -> np.ndarray:
    sides = [(a, b, a_wins) for a in range(3) for b in range(3) for a_wins in (True, False)]
    pairs = [(said(a, from_reference=0.0), said(b, from_reference=1.0)) for a, b, _ in sides]
    [batch] = pack([pair if side[2] else pair[::-1] for pair, side in zip(pairs, sides, strict=True)], rows=36, length=2)
    share = torch.tensor([REFERENCE[b] / (1 + np.exp((1 - 2 * a_wins) * (REWARD[a] - REWARD[b]))) for a, b, a_wins in sides])
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([logits], lr=0.05)
    for _ in range(500):
        log_p = logits.log_softmax(-1)
        spoken = log_p[batch.tokens_BL[:, 1]]
        out = SimpleNamespace(logprobs_BL=torch.stack([torch.zeros_like(spoken), spoken], 1))
        loss_G, _ = objective(out, batch)
        adam.zero_grad()
        (loss_G * share * log_p.exp().detach()[[a for a, *_ in sides]]).sum().backward()
        adam.step()
    return logits.detach().softmax(-1).numpy()


@pytest.mark.parametrize("objective", [XPO(beta=BETA, optimism=0.0)], ids=["xpo without optimism: online dpo's"])
def test_xpo_without_optimism_is_online_dpo(objective):
    np.testing.assert_allclose(xpo_optimum(objective), OPTIMUM, atol=1e-3)


@pytest.mark.parametrize("objective", [XPO(beta=BETA, optimism=0.02)], ids=["xpo: away from the reference"])
def test_xpo_leaves_what_the_reference_says(objective):
    optimism, found = objective.optimism, xpo_optimum(objective)
    margin = np.log(found / REFERENCE)[:, None] - np.log(found / REFERENCE)[None, :]
    wins = 1 / (1 + np.exp(REWARD[None, :] - REWARD[:, None]))
    pull = found[:, None] * REFERENCE[None, :] * (wins - 1 / (1 + np.exp(-BETA * margin)))
    slope = -BETA * (pull.sum(1) - pull.sum(0)) + optimism * (REFERENCE - found)  # by each logit
    np.testing.assert_allclose(slope, 0, atol=1e-5)
    assert (REFERENCE * np.log(found)).sum() < (REFERENCE * np.log(OPTIMUM)).sum() - 0.1


# --- a teacher

TEACHER = np.array([0.2, 0.15, 0.65])


@pytest.mark.parametrize(
    ("objective", "price"), [(BY_TOKEN, 0.0), (BY_TOKEN, BETA)], ids=["distillation: the teacher", "distillation, with a price of the KL"]
)
def test_distillation_arrives_at_the_teacher_or_between_it_and_the_reference(objective, price):
    policy = policy_of(objective)
    for step in range(STEPS):
        update(policy, step, Distillation(), price=price, teacher=TEACHER)
    between = TEACHER ** (1 / (1 + price)) * REFERENCE ** (price / (1 + price))
    assert_arrived(policy.model, (between / between.sum()).tolist())


@pytest.mark.parametrize("objective", [GKD(beta=0.0), GKD(beta=0.5), GKD(beta=1.0)], ids=lambda each: f"gkd {each.beta:g}: the teacher")
def test_gkd_arrives_at_the_teacher(objective):
    teacher = tiny_model(vocab_size=3, seed=7).requires_grad_(False)
    with torch.no_grad():
        teacher.trunk.head.weight.mul_(3)  # so that it has opinions
    policy = policy_of(objective, reference=teacher)
    batches = pack([(item,) for item in SAID], rows=3, length=2)
    assert np.abs(np.exp(policy_logprobs(policy.model)) - np.exp(policy_logprobs(teacher))).max() > 0.1
    for step in range(STEPS):
        policy.step(step, batches)
    assert_arrived(policy.model, np.exp(policy_logprobs(teacher)).tolist())


# --- PPO-ptx: what is said in the rest of the text pulls too

TEXT, GAMMA = np.array([6, 3, 1]), 0.5


def ptx_optimum() -> list[float]:
    """Where reward - price x (log policy - log reference) + gamma x text / policy is the same for all choices; by bisection."""

    def share_at(level: float) -> np.ndarray:
        low, high = np.full(3, 1e-9), np.full(3, 50.0)
        for _ in range(60):
            middle = (low + high) / 2
            above = REWARD - BETA * np.log(middle / REFERENCE) + GAMMA * TEXT / TEXT.sum() / middle > level
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return low

    low, high = -10.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if share_at(middle).sum() > 1 else (low, middle)
    return share_at(low).tolist()


@pytest.mark.parametrize("beside", [CrossEntropy()], ids=["PPO-ptx: in balance with the reward"])
def test_ppo_ptx_arrives_where_reward_and_text_are_in_balance(beside):
    text = [(SAID[choice],) for choice in range(3) for _ in range(TEXT[choice])]
    policy = policy_of(beside=Beside("replay", lambda _: text, beside, GAMMA, rows=4, length=2))
    for step in range(STEPS):
        update(policy, step)
    assert_arrived(policy.model, ptx_optimum())
    assert np.abs(np.array(ptx_optimum()) - OPTIMUM).max() > 0.1


# --- another sampler than the trainer


def hotter(log_policy: np.ndarray) -> np.ndarray:
    flat = log_policy / 1.5
    return flat - np.log(np.exp(flat).sum())


def test_samples_of_another_distribution_lead_to_the_optimum():
    policy = policy_of()
    for step in range(STEPS):
        update(policy, step, sampler=hotter)
    assert_arrived(policy.model, OPTIMUM)


def test_the_corrected_gradient_is_the_policys_own():
    """Every choice, as heavy as the sampler makes it: with importance the slopes agree to rounding, not on average."""
    old = policy_logprobs(policy_of().model)

    def gradients(drawn_by: np.ndarray, importance: np.ndarray) -> dict[str, torch.Tensor]:
        batches = weighed(drawn_by, old_logprobs=old, advantages=np.array([1.0, -2.0, 0.5]), importance=importance)
        return policy_of().gradients(batches)[1]

    hot, own = hotter(old), gradients(old, np.ones(3))
    torch.testing.assert_close(gradients(hot, np.exp(old - hot)), own, rtol=1e-5, atol=1e-6)
    assert (gradients(hot, np.ones(3))["trunk.head.weight"] - own["trunk.head.weight"]).norm() > 0.05 * own["trunk.head.weight"].norm()
