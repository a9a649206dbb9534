"""Muon orthogonalises, and every weight is updated by exactly one optimizer."""

from types import SimpleNamespace

import pytest
import torch

from tests.nn.tiny import tiny_model
from trivium.learn.optim import AdamW, MuonAdamW
from trivium.learn.optim.muon import Muon, fast_dtype, orthogonalise
from trivium.nn.model import Model


@pytest.mark.parametrize("shape", [(16, 16), (12, 48), (48, 12), (64, 8)])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_singular_values_become_about_one(shape, scale):
    matrices = scale * torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert values.min() > 0.7
    assert values.max() < 1.3


def test_small_singular_values_are_raised_too():
    left, _ = torch.linalg.qr(torch.randn(20, 20, generator=torch.Generator().manual_seed(1)))
    values = torch.linalg.svdvals(orthogonalise((left * torch.logspace(0, -2.5, 20))[None]))
    assert values.min() > 0.7
    assert values.max() < 1.3


def test_each_matrix_of_a_batch_is_orthogonalised_by_itself():
    matrices = torch.randn(3, 6, 9, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(orthogonalise(matrices)[1], orthogonalise(matrices[1:2])[0], rtol=1e-5, atol=1e-6)


def test_a_zero_gradient_stays_zero():
    assert not orthogonalise(torch.zeros(1, 4, 6)).any()


@pytest.mark.parametrize("shape", [(16, 16), (24, 12), (12, 24)])
def test_muon_goes_where_torchs_muon_goes(shape):
    """Its polynomial, in bf16, leaves singular values between 0.7 and 1.2; so the directions cannot be closer than this."""
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(shape, generator=generator)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    one = Muon([ours], lr=0.1, momentum=0.9, weight_decay=0.01)
    other = torch.optim.Muon([theirs], lr=0.1, momentum=0.9, weight_decay=0.01, adjust_lr_fn="original")
    for _ in range(4):
        before = ours.detach().clone()
        theirs.data.copy_(before)
        ours.grad = torch.randn(shape, generator=generator)
        theirs.grad = ours.grad.clone()
        one.step()
        other.step()
        move, expected = (ours.detach() - before).flatten(), (theirs.detach() - before).flatten()
        assert torch.cosine_similarity(move, expected, dim=0) > 0.96
        assert float(move.norm() / expected.norm()) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("recipe", [AdamW(weight_decay=0.1), MuonAdamW()])
@pytest.mark.parametrize("options", [{}, {"tie_head": True}, {"has_scalar": True}, {"has_mlp_bias": True, "norm": "layer"}], ids=str)
def test_every_parameter_is_in_exactly_one_group(recipe, options):
    model = tiny_model(**options)
    owned = [id(parameter) for optimizer in recipe(model) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(owned) == sorted(map(id, model.parameters()))


def test_muon_gets_the_matrices_of_the_blocks_and_nothing_else():
    model = tiny_model()
    muon, _ = MuonAdamW()(model)
    names = {parameter: name for name, parameter in model.named_parameters()}
    owned = {names[parameter] for parameter in muon.param_groups[0]["params"]}
    assert owned == {name for name, parameter in model.named_parameters() if ".blocks." in name and parameter.dim() == 2}
    assert len(owned) == 2 * 7


def test_adamw_decays_matrices_only():
    [adamw] = AdamW(weight_decay=0.1)(tiny_model())
    decayed, plain = adamw.param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert {parameter.dim() for parameter in decayed["params"]} == {2}
    assert {parameter.dim() for parameter in plain["params"]} == {1}


@pytest.mark.parametrize(
    ("device", "capability", "dtype"), [("cuda", (8, 0), torch.bfloat16), ("cuda", (7, 5), torch.float32), ("mps", (9, 0), torch.float32)]
)
def test_matrices_are_orthogonalised_in_bf16_on_gpus_that_are_fast_at_it(monkeypatch, device, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    weight = SimpleNamespace(device=torch.device(device))
    assert fast_dtype(SimpleNamespace(parameters=lambda: iter([weight]))) == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_processor_matrices_are_orthogonalised_in_what_the_model_computes_in(dtype):
    assert fast_dtype(Model(tiny_model().config, compute_dtype=dtype)) == dtype
