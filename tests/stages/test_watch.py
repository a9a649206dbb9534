import math

import numpy as np
import pytest

from trivium.stages.computing.watch import Watch
from trivium.stages.guard import Guard

PHASE = {"kl": 1.0, "stop_rate": 1.0, "entropy": 2.0}


@pytest.mark.parametrize(
    ("guard", "phase", "reason"),
    [
        (Guard(max_kl=2.0), {"kl": 2.5}, "2.50 nats"),
        (Guard(max_kl=2.0), {"kl": 2.0}, None),
        (Guard(min_stop_rate=0.5), {"stop_rate": 0.4}, "only 40%"),
        (Guard(), {"kl": 1e6, "stop_rate": 0.0}, None),
    ],
)
def test_limits(guard, phase, reason):
    found = Watch(guard)(1, PHASE | phase)
    assert (found is None) == (reason is None)
    assert reason is None or reason in found


def test_it_looks_at_the_end_of_a_phase_only():
    assert Watch(Guard(min_stop_rate=1.0))(1, {"loss": 1.0}) is None


def test_an_entropy_that_fell_to_a_share_of_the_first_one_is_a_collapse():
    watch = Watch(Guard(min_entropy_share=0.2))
    assert [watch(step, PHASE | {"entropy": value}) is None for step, value in enumerate((2.0, 0.5, 0.39))] == [True, True, False]


def test_a_held_out_reward_may_fall_but_not_stay_below_its_best():
    watch = Watch(Guard(models="watcher", patience=2))
    found = [watch(step, PHASE | {"heldout_reward": score}) for step, score in enumerate((0.1, 0.5, 0.4, 0.6, 0.5, 0.4))]
    assert [reason is None for reason in found] == [True] * 5 + [False]
    assert "below its best, 0.600, for 2 phases" in found[-1]


def test_what_is_within_the_slack_is_no_fall():
    watch = Watch(Guard(models="watcher", patience=1, slack=0.2))
    assert [watch(step, PHASE | {"heldout_reward": score}) is None for step, score in enumerate((0.5, 0.35, 0.29))] == [True, True, False]


def test_a_run_that_goes_on_remembers_what_it_saw():
    first, second = Watch(Guard(models="watcher", patience=2)), Watch(Guard(models="watcher", patience=2))
    for score in (0.5, 0.4):
        first(1, PHASE | {"heldout_reward": score})
    second.load_state(first.state())
    assert (second.best, second.falls, second.first_entropy) == (0.5, 1.0, 2.0)
    assert second(2, PHASE | {"heldout_reward": 0.3}) is not None
    assert Watch(Guard()).best == -math.inf


GREAT, WORDS = 0, 40  # one answer is the word "great", for which the reward model adds 1


def hacked(guard: Guard, seed: int, *, phases: int = 150, answers: int = 512) -> tuple[list[float], str | None]:
    """The true reward after each phase of a policy of one-word answers, until the guard stops it; and why it did.

    True rewards are between 0 and .8. The reward model and the one that only watches err apart from each other, by .05; the first has the
    hack. After each phase the policy is the best one at a lower price of KL: start x exp(reward / price), Korbak et al. 2022, eq. 3.
    """
    draw = np.random.default_rng(seed)
    true_V = 0.8 * draw.random(WORDS)
    true_V[GREAT] = 0.2
    proxy_V, heldout_V = (true_V + 0.05 * draw.normal(size=WORDS) for _ in range(2))
    proxy_V[GREAT] += 1
    start_V, watch, true = np.ones(WORDS), Watch(guard), []
    start_V[GREAT] = np.exp(-5)
    for phase in range(phases):
        policy_V = start_V * np.exp(0.5 * phase * (proxy_V - proxy_V.max()))
        policy_V /= policy_V.sum()
        true.append(float(policy_V @ true_V))
        said = draw.choice(WORDS, answers, p=policy_V)
        watched = {"heldout_reward": float(heldout_V[said].mean())} if guard.models else {}
        reason = watch(phase + 1, PHASE | watched)
        if reason is not None:
            return true, reason
    return true, None


@pytest.mark.parametrize("seed", range(20))
def test_a_planted_hack_is_stopped_before_the_true_reward_has_lost_a_twentieth(seed):
    free, _ = hacked(Guard(), seed)
    assert free[-1] < 0.6 * max(free)  # what the hack does where nobody watches
    guarded, reason = hacked(Guard(models=("another",)), seed)
    assert reason is not None
    assert "the held-out reward has been below its best" in reason
    assert guarded[-1] > 0.95 * max(guarded)
    assert guarded[-1] > guarded[0] + 0.5 * (max(free) - free[0])  # and not before most of the way was gone
