"""The bandit of test_bandit.py with a sampler that lags behind: what is corrected arrives at the closed form, and what is not does not."""

import numpy as np
import pytest

from tests.learn.closed_forms import BETA, OPTIMUM, REFERENCE, REWARD
from tests.learn.test_bandit import assert_arrived, policy_logprobs
from tests.learn.test_bandit_online import STEPS, policy_of, weighed
from trivium.learn.objectives.policy import CISPO, REINFORCE, PolicyGradient
from trivium.nn.model import Model
from trivium.stages.computing.rollouts import MAX_IMPORTANCE

BASELINE = 3.0  # more than any reward: the mean advantage is not 0, so it matters how often each choice is counted


def arrived_with(lag: int, objective=REINFORCE(reduction="token"), *, anchor: str) -> Model:  # noqa: B008
    """The policy after a training whose choices are drawn by the policy of `lag` updates before.

    anchor: "trainer" reads again and weighs, "sampler" takes the stored log-probs as they are, "none" pretends that nothing lags.
    """
    policy, history = policy_of(objective), []
    for step in range(STEPS):
        history.append(policy_logprobs(policy.model))
        now, drawn_by = history[-1], history[max(0, step - lag)]
        columns = {
            "advantages": REWARD - BETA * (now - np.log(REFERENCE)) - BASELINE,
            "old_logprobs": drawn_by if anchor == "sampler" else now,
        }
        if anchor == "trainer":
            columns["importance"] = np.minimum(np.exp(now - drawn_by), MAX_IMPORTANCE)
        policy.step(step, weighed(drawn_by, **columns))
    return policy.model


@pytest.mark.parametrize("lag", [0, 1, 3])
def test_what_is_read_again_and_weighed_arrives_whatever_the_lag(lag):
    assert_arrived(arrived_with(lag, anchor="trainer"), OPTIMUM)


def test_what_is_not_corrected_does_not_arrive():
    with pytest.raises(AssertionError):
        assert_arrived(arrived_with(3, anchor="none"), OPTIMUM)


@pytest.mark.parametrize(
    "objective",
    [PolicyGradient(clip_low=0.9, clip_high=9.0, reduction="token"), CISPO(reduction="token")],
    ids=["PPO, a lag of one", "CISPO, a lag of one"],
)
def test_a_ratio_to_the_sampler_itself_corrects_a_lag_of_one(objective):
    assert_arrived(arrived_with(1, objective, anchor="sampler"), OPTIMUM)
