"""What is fitted to data on the bandit of test_bandit.py: shares of a text, log-odds of what people said, means of returns."""

import numpy as np
import pytest

from tests.learn.closed_forms import REWARD, WINS
from tests.learn.test_bandit import SAID, STEPS, assert_arrived, compared, said, trainer
from tests.nn.tiny import tiny_model
from trivium.core.types import Group
from trivium.data.pack import pack
from trivium.learn.objectives import CrossEntropy, Objective, Process, Ranking, Value
from trivium.nn.model import Model
from trivium.train.annotate import Reading, column_of

SHARES = np.array([0.2, 0.5, 0.8])


def fitted(objective: Objective, groups: list[Group], *, has_scalar: bool = True) -> Model:
    policy = trainer(tiny_model(vocab_size=3, has_scalar=has_scalar), objective)
    batches = pack(groups, rows=sum(map(len, groups)), length=2)
    for step in range(2 * STEPS):
        policy.step(step, batches)
    return policy.model


def of_choices(model: Model, read: Reading) -> np.ndarray:
    """What the scalar head says of each choice."""
    return np.array([column[1] for column in column_of(model, SAID, read, rows=3, length=2)])


@pytest.mark.parametrize("objective", [CrossEntropy()], ids=["cross-entropy: the shares of the text"])
def test_imitation_arrives_at_the_shares_of_the_text(objective):
    text = [(SAID[choice],) for choice, times in enumerate((6, 3, 1)) for _ in range(times)]
    assert_arrived(fitted(objective, text, has_scalar=False), [0.6, 0.3, 0.1])


@pytest.mark.parametrize(
    "objective",
    [Ranking(), Ranking(has_probs=True), Ranking(centre=0.1)],
    ids=["ranking: log-odds of the wins", "ranking, soft labels: the same", "ranking, centred: less"],
)
def test_scores_of_a_reward_model_differ_by_the_log_odds_of_the_wins(objective):
    """1 for each step up. Centring holds the mean of each pair near 0, here half a step from it: sigmoid(gap) + centre gap / 2 = wins."""
    groups = compared(WINS, ({"rank": 0.0}, {"rank": 1.0}))
    if objective.has_probs:
        groups = [(said(a, rank=0, prob=WINS), said(b, rank=1, prob=WINS)) for a, b in ((1, 0), (2, 1))]
    low, high = 0.0, 2.0
    for _ in range(50):
        gap = (low + high) / 2
        low, high = (gap, high) if 1 / (1 + np.exp(-gap)) + objective.centre * gap / 2 < WINS else (low, gap)
    score = of_choices(fitted(objective, groups), lambda out, _: out.scores_BL)
    np.testing.assert_allclose(np.diff(score), [low, low], atol=0.03)
    if objective.centre:
        assert score[1] == pytest.approx(0.0, abs=0.03)


@pytest.mark.parametrize("objective", [Process()], ids=["process: log-odds of being right"])
def test_the_score_of_a_step_is_the_log_odds_of_its_being_right(objective):
    judged = [
        (said(choice, correct=correct),)
        for choice, share in enumerate(SHARES) for correct, times in ((1.0, share), (0.0, 1 - share)) for _ in range(round(10 * times))
    ]  # fmt: skip
    score = of_choices(fitted(objective, judged), lambda out, _: out.scores_BL)
    np.testing.assert_allclose(score, np.log(SHARES / (1 - SHARES)), atol=0.03)


@pytest.mark.parametrize("objective", [Value(), Value(clip=0)], ids=["value: the mean of the returns", "without the clip"])
def test_the_critic_arrives_at_the_mean_of_the_returns(objective):
    """It looks before the choice is made, so it cannot tell them apart; the clip is around what it said before each update."""
    critic = trainer(tiny_model(vocab_size=3, has_scalar=True), objective)
    value = lambda: column_of(critic.model, SAID, lambda out, _: out.values_BL, rows=3, length=2)[0][1]  # noqa: E731
    for step in range(2 * STEPS):
        now = value()
        critic.step(step, pack([(said(choice, values=now, returns=REWARD[choice]),) for choice in (0, 1, 1, 2, 2, 2)], rows=6, length=2))
    assert value() == pytest.approx((0 + 2 * 1 + 3 * 2) / 6, abs=0.01)
