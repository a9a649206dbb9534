"""Losses in which a part counts as a constant: their slopes, by hand."""

from types import SimpleNamespace

import pytest
import torch

from tests.learn.test_golden import DOUBLE, at_the_answer, one_token_answers
from trivium.learn.objectives.policy import CISPO
from trivium.learn.objectives.preference import DPO, TDPO, WPO


def slopes(objective, logprobs: list[float], batch, **outputs: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The slope of the summed loss by each log-prob, (B,), and by other outputs."""
    x = at_the_answer(*logprobs).requires_grad_()
    others = {name: value.clone().requires_grad_() for name, value in outputs.items()}
    loss, _ = objective(SimpleNamespace(logprobs_BL=x, entropy_BL=torch.zeros_like(x), **others), batch)
    loss.sum().backward()
    return x.grad[:, 1], {name: value.grad[:, 1] for name, value in others.items()}


@pytest.mark.parametrize("objective", [WPO(beta=0.3)])
def test_wpo_weighs_dpos_slope_and_does_not_learn_the_weight(objective):
    batch = one_token_answers(groups=[2], ref_logprobs=[-0.5, -0.7])
    plain, _ = slopes(DPO(beta=0.3), [-0.4, -0.9], batch)
    weighed, _ = slopes(objective, [-0.4, -0.9], batch)
    torch.testing.assert_close(weighed, plain * torch.tensor(-1.3, dtype=DOUBLE).exp())


@pytest.mark.parametrize(("ratio", "weight"), [(2.0, 2.0), (9.0, 5.0)])
@pytest.mark.parametrize("objective", [CISPO(max_ratio=5.0)])
def test_cispo_keeps_the_slope_of_every_token(objective, ratio, weight):
    batch = one_token_answers(old_logprobs=[0.0], advantages=[0.5])
    slope, _ = slopes(objective, [float(torch.tensor(ratio).log())], batch)
    assert float(slope) == pytest.approx(-0.5 * weight, rel=1e-6)


@pytest.mark.parametrize("objective", [TDPO(version=2, weight=1.0)])
def test_the_second_version_of_tdpo_pulls_only_on_the_worse_answers_drift(objective):
    batch, drift = one_token_answers(groups=[2], ref_logprobs=[0.0, 0.0]), at_the_answer(0.5, 1.5)
    _, first = slopes(TDPO(version=1), [-1.0, -1.0], batch, reference_kl_BL=drift)
    _, second = slopes(objective, [-1.0, -1.0], batch, reference_kl_BL=drift)
    assert first["reference_kl_BL"][0] < 0 < first["reference_kl_BL"][1]
    assert second["reference_kl_BL"].tolist() == pytest.approx([0.0, float(first["reference_kl_BL"][1])])
