"""Noise on embeddings: the numbers, where they are added, and that nothing else depends on how a batch is laid out."""

import numpy as np
import pytest
import torch

from tests.nn.io_models import ours
from tests.nn.tiny import tiny_model
from trivium.core.seeds import mix
from trivium.core.types import Example, example
from trivium.data.noise import noisy_embeddings
from trivium.data.pack import pack
from trivium.learn.objectives import CrossEntropy
from trivium.learn.schedules import Schedule
from trivium.nn.model import Model
from trivium.nn.native.block import use
from trivium.nn.native.library import why_not
from trivium.nn.noise import embedding_noise
from trivium.train.trainer import Trainer

PLAIN = [(example(np.arange(length) % 7 + length),) for length in (5, 3, 8, 6, 2)]


def noisy(alpha: float = 5.0, *, step: int = 0, width: int = 8, seed: int = 1) -> list[tuple[Example, ...]]:
    return [tuple(group) for group in noisy_embeddings(lambda _: PLAIN, alpha=alpha, width=width, seed=seed)(step)]


def gradients(model: Model, groups: list, *, rows: int = 2, length: int = 12) -> dict[str, torch.Tensor]:
    trainer = Trainer("policy", model, CrossEntropy(), [], schedule=Schedule(), steps=1)
    loss, found = trainer.gradients(pack(groups, rows=rows, length=length))
    return {"loss": loss, **found}


def test_the_numbers_are_those_of_the_hash():
    """Against NumPy's unsigned integers."""
    [batch] = pack(noisy(), rows=5, length=8)
    found = embedding_noise(batch, 8)
    keys, scales = batch["noise_key"].numpy().astype(np.uint64), batch["noise_scale"].numpy()
    hashed = mix(keys[..., None] * np.uint64(8) + np.arange(8, dtype=np.uint64))
    uniform = (hashed >> np.uint64(40)).astype(np.float32) * np.float32(2**-23) - np.float32(1)
    np.testing.assert_array_equal(found.numpy(), uniform * scales[..., None])


def test_they_are_uniform_within_their_bound_and_independent():
    groups = [tuple(group) for group in noisy_embeddings(lambda _: [(example(np.zeros(400)),)] * 8, alpha=2.0, width=64, seed=3)(0)]
    [batch] = pack(groups, rows=8, length=400)
    unit = (embedding_noise(batch, 64) / batch["noise_scale"][..., None]).flatten(0, 1).double()
    assert -1 <= unit.min() < -0.999
    assert 0.999 < unit.max() < 1
    counts = torch.histc(unit.flatten(), bins=20, min=-1, max=1)
    expected = unit.numel() / 20
    assert float(((counts - expected) ** 2 / expected).sum()) < 43.8  # 99.9 % of chi-square, 19 degrees of freedom
    assert float(torch.corrcoef(unit.T).fill_diagonal_(0).abs().max()) < 0.1  # between the numbers of a token
    assert abs(float(torch.corrcoef(torch.stack([unit[:-1, 0], unit[1:, 0]]))[0, 1])) < 0.06  # between neighbours


def test_it_is_added_to_the_embeddings_and_nowhere_else():
    model = tiny_model(has_scaled_embedding=True)
    [batch] = pack(noisy(), rows=5, length=8)
    seen = {}
    model.trunk.blocks[0].register_forward_hook(lambda _, given, __: seen.setdefault("first", given[0]))
    model.hidden(batch)
    expected = (model.trunk.embed(batch.tokens_BL) + embedding_noise(batch, 8)) * 8**0.5
    torch.testing.assert_close(seen["first"], expected, rtol=0, atol=0)


@pytest.mark.parametrize(("rows", "length"), [(5, 8), (1, 8), (2, 20), (1, 24)])
def test_packing_and_micro_batches_do_not_change_it(rows, length):
    model = tiny_model()
    torch.testing.assert_close(gradients(model, noisy(), rows=rows, length=length), gradients(model, noisy()), rtol=1e-5, atol=1e-6)


def test_it_changes_the_gradient_with_step_and_seed_and_not_the_generator_of_torch():
    model, before = tiny_model(), torch.random.get_rng_state()
    losses = [float(gradients(model, groups)["loss"]) for groups in (PLAIN, noisy(), noisy(step=1), noisy(seed=2), noisy(alpha=10.0))]
    assert len(set(losses)) == 5
    assert float(gradients(model, noisy())["loss"]) == losses[1]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_noise_of_size_zero_is_none_to_the_bit():
    model = tiny_model()
    torch.testing.assert_close(gradients(model, noisy(alpha=0.0)), gradients(model, PLAIN), rtol=0, atol=0)


@pytest.mark.skipif(bool(why_not()), reason=str(why_not()))
def test_the_native_kernels_train_with_it():
    model = tiny_model(hidden_size=32, num_heads=2, num_kv_heads=1, head_dim=16, intermediate_size=48)
    groups = noisy(width=32)
    expected = gradients(model, groups)
    assert use(model.trunk) is None
    torch.testing.assert_close(gradients(model, groups), expected, rtol=1e-4, atol=1e-5)


def test_a_model_with_learned_positions_takes_it_too():
    model = ours("gpt2")
    width = model.config.hidden_size
    [batch] = pack(noisy(width=width), rows=5, length=8)
    x = model.trunk.embedded(batch.tokens_BL, batch.position_BL, torch.float32, embedding_noise(batch, width))
    plain = model.trunk.embedded(batch.tokens_BL, batch.position_BL, torch.float32)
    torch.testing.assert_close(x - plain, embedding_noise(batch, width), rtol=0, atol=1e-6)
