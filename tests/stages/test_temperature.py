"""Every log-prob of a run in which a policy learns from its answers is of one distribution: that of the temperature it samples at."""

import pytest

from tests.stages.test_alignment import LENGTH, SAMPLED, place, run

__all__ = ["place"]  # the fixture that makes a folder with a model and prompts
ONE_UPDATE = {"passes": 1, "minibatches": 1, "rewards": [LENGTH]}


def sampled(temperature: float, **options):
    """Metrics of the first update, in which policy, sampler and reference are one model."""
    return run("reinforce", **options, sampling={**SAMPLED["sampling"], "temperature": temperature}, phases=1)[0]


@pytest.mark.parametrize("temperature", [0.5, 1.7])
def test_the_trainer_reads_at_the_temperature_of_the_sampler(temperature):
    first = sampled(temperature, credit="group_mean", answers=2, **ONE_UPDATE)
    assert first["approx_kl"] == pytest.approx(0, abs=1e-6)
    assert first["ratio_error"] == pytest.approx(1, abs=1e-4)
    assert first["clip_fraction"] == 0


@pytest.mark.parametrize("temperature", [0.5, 1.7])
@pytest.mark.parametrize("method", ["ppo", "grpo"])
def test_the_reference_is_read_at_the_temperature_of_the_sampler(method, temperature):
    """So the KL to where the policy started is 0 there, in the reward and in the loss."""
    first = sampled(temperature, method=method, answers=2, **ONE_UPDATE)
    assert first["kl"] == pytest.approx(0, abs=1e-5)


def test_a_teacher_is_read_at_it_too():
    """What is sampled from the policy and taught by itself is worth 0 nats."""
    first = sampled(0.5, method="on_policy_distillation", teacher="base")
    assert first["reward"] == pytest.approx(0, abs=1e-5)
