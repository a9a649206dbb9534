"""Dropout on the stream: which numbers stay, where they are left out, and that nothing depends on how a batch is laid out."""

import numpy as np
import pytest
import torch

from tests.nn.test_noise import PLAIN, gradients
from tests.nn.tiny import tiny_model
from trivium.core.types import Example, example
from trivium.data.noise import with_dropout
from trivium.data.pack import pack
from trivium.nn.native.block import use
from trivium.nn.native.library import why_not
from trivium.nn.noise import dropout_of, dropped


def thinned(share: float = 0.25, *, step: int = 0, seed: int = 1) -> list[tuple[Example, ...]]:
    return [tuple(group) for group in with_dropout(lambda _: PLAIN, share=share, seed=seed)(step)]


def test_a_share_is_left_out_and_the_rest_is_larger_so_that_the_mean_stays():
    groups = [tuple(group) for group in with_dropout(lambda _: [(example(np.zeros(400)),)] * 4, share=0.25, seed=3)(0)]
    [batch] = pack(groups, rows=4, length=400)
    dropout = dropout_of(batch)
    found = [dropped(torch.ones(4, 400, 64), dropout, place) for place in (0, 1)]
    for one in found:
        assert set(one.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.75))}
        assert float((one == 0).double().mean()) == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / one.numel()) ** 0.5)
    pairs = [(found[0], found[1]), (found[0][:, 1:], found[0][:, :-1]), (found[0][..., 1:], found[0][..., :-1])]
    for one, other in pairs:  # places, tokens and numbers are independent
        assert abs(float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])) < 0.015


def test_it_thins_what_each_layer_adds_and_nothing_else():
    model = tiny_model()
    [batch] = pack(thinned(), rows=5, length=8)
    block, seen = model.trunk.blocks[0], {}
    block.register_forward_hook(lambda _, given, result: seen.update(given=given, result=result))
    model.hidden(batch)
    x_BLD, rope, mask, *_ = seen["given"]
    torch.testing.assert_close(x_BLD, model.trunk.embed(batch.tokens_BL), rtol=0, atol=0)
    dropout = dropout_of(batch)
    mixed = x_BLD + dropped(block.attention(block.attention_norm(x_BLD), rope, mask, None, 0), dropout, 0)
    expected = mixed + dropped(block.mlp(block.mlp_norm(mixed)), dropout, 1)
    torch.testing.assert_close(seen["result"], expected, rtol=0, atol=0)


@pytest.mark.parametrize(("rows", "length"), [(5, 8), (1, 8), (2, 20), (1, 24)])
def test_packing_and_micro_batches_do_not_change_it(rows, length):
    model = tiny_model()
    torch.testing.assert_close(gradients(model, thinned(), rows=rows, length=length), gradients(model, thinned()), rtol=1e-5, atol=1e-6)


def test_it_changes_with_step_and_seed_and_share_and_is_a_function_of_them():
    model, before = tiny_model(), torch.random.get_rng_state()
    losses = [float(gradients(model, groups)["loss"]) for groups in (PLAIN, thinned(), thinned(step=1), thinned(seed=2), thinned(0.5))]
    assert len(set(losses)) == 5
    assert float(gradients(model, thinned())["loss"]) == losses[1]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_share_of_zero_is_none_to_the_bit():
    model = tiny_model()
    torch.testing.assert_close(gradients(model, thinned(0.0)), gradients(model, PLAIN), rtol=0, atol=0)


@pytest.mark.skipif(bool(why_not()), reason=str(why_not()))
@pytest.mark.parametrize("options", [{}, {"is_parallel": True}])
def test_the_native_kernels_train_with_it_where_beginnings_are_shared(options):
    model = tiny_model(hidden_size=32, num_heads=2, num_kv_heads=1, head_dim=16, intermediate_size=48, vocab_size=64, **options)
    start = list(range(3, 21))
    source = lambda _: [(example([*start, 30 + i, 40, 50 + i]),) for i in range(3)]  # noqa: E731
    groups = [tuple(group) for group in with_dropout(source, share=0.3, seed=1)(0)]
    expected = gradients(model, groups, rows=3, length=24)
    assert use(model.trunk) is None
    torch.testing.assert_close(gradients(model, groups, rows=3, length=24), expected, rtol=1e-4, atol=1e-5)
