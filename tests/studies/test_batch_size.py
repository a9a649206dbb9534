"""The study of batch sizes: the noise scale of a real model by hand, and arms whose rate grows with the batch, which decide nothing."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.nn.tiny import VOCAB, tiny_model
from trivium.core.types import example
from trivium.stages.recipe import load_recipe
from trivium.studies import batch_size
from trivium.studies.batch_size import HEADER, Arm, BatchSize, gradient_noise
from trivium.studies.held_out import HeldOut
from trivium.studies.statistics import noise_scale

ROWS = np.random.default_rng(4).integers(0, VOCAB, (8, 12))


def test_the_noise_scale_of_a_model_is_that_of_its_batches_gradients():
    model = tiny_model(seed=3)
    source = SimpleNamespace(
        seq_len=12, row=lambda number: example(ROWS[number]), rows_at=lambda first, count: np.arange(first, first + count)
    )
    training = SimpleNamespace(order=SimpleNamespace(source=source), speaker=lambda: SimpleNamespace(model=model))
    found = gradient_noise(training, rows=2, batches=4)
    gradients = []
    for start in range(0, 8, 2):
        tokens_BL = torch.tensor(ROWS[start : start + 2])
        logits_BLV = model.trunk.logits(model.trunk(tokens_BL, torch.arange(12).expand(2, 12)))
        loss = torch.nn.functional.cross_entropy(logits_BLV[:, :-1].flatten(0, 1), tokens_BL[:, 1:].flatten())
        slopes = torch.autograd.grad(loss, [each for each in model.parameters() if each.requires_grad], allow_unused=True)
        gradients.append(torch.cat([slope.flatten() for slope in slopes if slope is not None]).double())
    small = float(torch.stack([gradient.square().sum() for gradient in gradients]).mean())
    large = float(torch.stack(gradients).mean(0).square().sum())
    assert found == pytest.approx(noise_scale((2, small), (8, large)), rel=1e-4)


def arm(stage, batch, more):
    training = SimpleNamespace(name=f"run/{stage}", stage=stage, seq_len=10, trace=True)
    bits = np.full(8, 2.0)
    return Arm(training, batch, 1000 // batch, 1.0, HeldOut(bits, bits), (more, more - 0.1, more + 0.1))


def test_arms_with_a_rate_that_grows_are_told_and_decide_nothing(monkeypatch):
    arms = [arm("batch_1x", 10, 0.0), arm("batch_8x", 80, 0.4), arm("scaled_8x", 80, 9.0)]
    monkeypatch.setattr(batch_size, "trainings_of", lambda folders: [each.training for each in arms])
    monkeypatch.setattr(batch_size, "_arms", lambda trainings: arms)
    monkeypatch.setattr(batch_size, "gradient_noise", lambda training, **_: (1.0, 1.0, 20.0))
    monkeypatch.setattr(batch_size, "heldout_shard", lambda training: None)
    finding = BatchSize().find(())
    assert finding.outcome == "seen"
    assert [row[HEADER.index("training")] for row in finding.rows] == ["run/batch_1x", "run/batch_8x", "run/scaled_8x"]
    assert finding.verdict.endswith("With a rate that grows with the root of the batch: 80 tokens +9.00 % in 12 updates.")


@pytest.mark.parametrize("preset", ["laptop", "gpu"])
def test_the_arm_with_a_scaled_rate_differs_in_its_rate_alone(preset):
    [trial] = BatchSize().trials(preset)
    stages = load_recipe(trial.recipe, trial.options).stages
    plain, scaled = stages["batch_8x"], stages["scaled_8x"]
    assert scaled.optimizer.lr == pytest.approx(plain.optimizer.lr * 8**0.5, rel=1e-3)
    assert type(plain)(**{**vars(scaled), "optimizer": plain.optimizer}) == plain
    budgets = {stage.steps * stage.batch_tokens for name, stage in stages.items() if name.startswith(("batch_", "scaled_", "again_"))}
    assert max(budgets) <= 1.001 * min(budgets)
