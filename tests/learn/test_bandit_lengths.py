"""The bandit of test_bandit.py with answers of one token and of two: where lengths, tails and ratios of whole answers lead.

The first token is 0, 1 or 2; after 1 there is a second one. So there are five answers, and their probabilities sum to 1. Neighbours are
compared, and the better one wins two times out of three: a reward is worth log 2 or nothing more than its neighbour's.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tests.learn.closed_forms import BETA
from tests.learn.test_bandit import STEPS, trainer
from tests.nn.tiny import tiny_model
from trivium.core.types import Example, Group, example
from trivium.data.pack import pack
from trivium.learn.objectives import Objective
from trivium.learn.objectives.policy import PolicyGradient
from trivium.learn.objectives.preference import DPO, LDDPO, RDPO, TDPO, SimPO
from trivium.nn.model import Model
from trivium.train.annotate import column_of, logprobs
from trivium.train.trainer import Trainer

ANSWERS = ((0,), (1, 0), (1, 1), (1, 2), (2,))
LENGTH = np.array([len(answer) for answer in ANSWERS])
REWARD = np.log(2) * np.array([0, 1, 2, 1, 0])
FIRST, SECOND = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.5, 0.3])  # the reference's next tokens
REFERENCE = np.array([FIRST[0], *FIRST[1] * SECOND, FIRST[2]])


def normalised(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum()


def says(first: np.ndarray, second: np.ndarray) -> list[list[float]]:
    """Log-probs of the tokens of each answer, with that of the prompt before them."""
    return [[0.0, np.log(first[answer[0]]), *([np.log(second[answer[1]])] if len(answer) == 2 else [])] for answer in ANSWERS]


def answers(**columns: Sequence[Sequence[float]]) -> list[Example]:
    return [
        example([0, *answer], [0, *[1] * len(answer)], **{name: values[number] for name, values in columns.items()})
        for number, answer in enumerate(ANSWERS)
    ]


def read(model: Model) -> list[np.ndarray]:
    return column_of(model, answers(), logprobs, rows=5, length=3)


def policy_of(model: Model) -> np.ndarray:
    """The probability of each answer."""
    return np.exp([column.sum() for column in read(model)])


def compared(reference: Sequence[Sequence[float]]) -> list[Group]:
    """Neighbours, in either order as often as it happens."""
    items, better = answers(ref_logprobs=reference), [(1, 0), (2, 1), (2, 3), (3, 4)]
    return [group for a, b in better for group in [(items[a], items[b])] * 2 + [(items[b], items[a])]]


def with_level(weights: Callable[[float], np.ndarray]) -> np.ndarray:
    """Of weights that grow with a level, those that sum to 1."""
    low, high = -50.0, 50.0
    for _ in range(100):
        level = (low + high) / 2
        low, high = (low, level) if weights(level).sum() > 1 else (level, high)
    return weights(low)


def two_steps(first: np.ndarray, second: np.ndarray, tail: np.ndarray, *, drift: float = 0.0, weight: float = 1.0) -> np.ndarray:
    """Answers with the second token of `tail`, when log-ratios by which rewards are compared have `weight` of the tail's and its drift."""
    moved = drift + weight * np.log(tail[0] / second[0])
    start = normalised(first * np.exp([REWARD[0] / BETA, REWARD[1] / BETA - moved, REWARD[4] / BETA]))
    return np.array([start[0], *start[1] * tail, start[2]])


TAIL = normalised(SECOND * np.exp(REWARD[1:4] / BETA))  # what compares answers of two tokens alone says
LENGTHS = {
    "dpo: the optimum of RLHF": (DPO(beta=BETA), normalised(REFERENCE * np.exp(REWARD / BETA))),
    "r-dpo: a token costs its coefficient": (
        RDPO(beta=BETA, length_coef=0.3),
        normalised(REFERENCE * np.exp((REWARD - 0.3 * LENGTH) / BETA)),
    ),
    "dpo a token": (
        DPO(beta=BETA, is_per_token=True),
        with_level(lambda level: REFERENCE * np.exp(LENGTH * (level + REWARD / BETA))),
    ),
    "simpo": (SimPO(beta=BETA, gamma=0), with_level(lambda level: np.exp(LENGTH * (level + REWARD / BETA)))),
    "ld-dpo: half of the tail": (LDDPO(beta=BETA, tail_weight=0.5), two_steps(FIRST, SECOND, TAIL, weight=0.5)),
    "ld-dpo: all of it is dpo": (LDDPO(beta=BETA, tail_weight=1.0), normalised(REFERENCE * np.exp(REWARD / BETA))),
}


@pytest.mark.parametrize(("objective", "optimum"), LENGTHS.values(), ids=LENGTHS.keys())
def test_answers_of_two_lengths_arrive_where_the_formula_says(objective, optimum):
    policy = trained(objective, says(FIRST, SECOND))
    np.testing.assert_allclose(policy_of(policy.model), optimum, atol=1e-2)


def trained(objective: Objective, reference: Sequence[Sequence[float]], teacher: Model | None = None) -> Trainer:
    policy, batches = trainer(tiny_model(vocab_size=3), objective, teacher), pack(compared(reference), rows=24, length=3)
    for step in range(2 * STEPS):
        policy.step(step, batches)
    return policy


def test_the_formulas_of_two_lengths_are_not_one():
    found = np.array([optimum for _, optimum in LENGTHS.values()])[:-1]
    assert min(np.abs(a - b).max() for number, a in enumerate(found) for b in found[:number]) > 0.02


def test_with_the_whole_tail_both_ways_to_the_optimum_agree():
    np.testing.assert_allclose(two_steps(FIRST, SECOND, TAIL), normalised(REFERENCE * np.exp(REWARD / BETA)))


@pytest.mark.parametrize("objective", [TDPO(beta=BETA, version=1)], ids=["tdpo 1: the drift of the second token is in the margin"])
def test_tdpo_arrives_where_its_formula_says(objective):
    """The drift at the first token is that of every answer; the second token's, KL(reference || policy), is that of three."""
    reference = tiny_model(vocab_size=3, seed=7).requires_grad_(False)
    told = read(reference)
    first, second = np.exp([told[0][1], told[1][1], told[4][1]]), np.exp([column[2] for column in told[1:4]])
    tail = normalised(second * np.exp(REWARD[1:4] / BETA))
    optimum = two_steps(first, second, tail, drift=(second * np.log(second / tail)).sum())
    found = policy_of(trained(objective, [column.tolist() for column in told], reference).model)
    np.testing.assert_allclose(found, optimum, atol=5e-3)
    plain = normalised(np.exp([column.sum() for column in told]) * np.exp(REWARD / BETA))
    assert np.abs(optimum - plain).max() > 0.015  # where DPO would be


BASELINE = -3.0  # below every reward, so that all advantages are above 0


def sampled_by_the_reference(objective: Objective) -> np.ndarray:
    """Where a policy ends whose answers are always drawn by the reference: each as heavy as that draws it, the KL in the reward."""
    old, policy = says(FIRST, SECOND), trainer(tiny_model(vocab_size=3), objective)
    for step in range(2 * STEPS):
        advantage = REWARD - BETA * np.log(policy_of(policy.model) / REFERENCE) - BASELINE
        items = [
            item.with_columns(advantages=np.full(len(item.tokens), advantage[number], np.float32))
            for number, item in enumerate(answers(old_logprobs=old))
        ]
        weighed = [
            example(item.tokens, item.loss_mask * share, **item.columns) for item, share in zip(items, REFERENCE / LENGTH, strict=True)
        ]
        policy.step(step, pack([(item,) for item in weighed], rows=5, length=3))
    return policy_of(policy.model)


def gspo_optimum() -> np.ndarray:
    """Where slope x advantage is the same for all answers: (reference / policy)^(1 - 1 / length) advantage / length."""

    def share_at(level: float) -> np.ndarray:
        low, high = np.full(5, -30.0), np.full(5, 5.0)  # log policy
        for _ in range(80):
            middle = (low + high) / 2
            advantage = REWARD - BETA * (middle - np.log(REFERENCE)) - BASELINE
            is_below = (np.log(REFERENCE) - middle) * (1 - 1 / LENGTH) + np.log(np.maximum(advantage, 1e-9) / LENGTH) > level
            low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
        return np.exp(low)

    return with_level(lambda level: share_at(-level))


WIDE = {"clip_low": 0.99, "clip_high": 99.0}


@pytest.mark.parametrize("objective", [PolicyGradient(ratio="sequence", **WIDE)], ids=["GSPO, off-policy: its own optimum"])
def test_the_ratio_of_a_sequence_arrives_at_an_optimum_of_its_own(objective):
    optimum = gspo_optimum()
    np.testing.assert_allclose(sampled_by_the_reference(objective), optimum, atol=1e-2)
    by_token = sampled_by_the_reference(PolicyGradient(**WIDE))
    assert np.abs(by_token - optimum).max() > 0.03
