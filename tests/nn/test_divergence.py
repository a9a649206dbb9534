import pytest
import torch

from tests.nn.tiny import tiny_model
from trivium.core.types import example
from trivium.data.pack import pack
from trivium.nn import divergence
from trivium.nn.divergence import kl_of_logits, reference_kl
from trivium.nn.outputs import Outputs

B, L, D, V = 2, 5, 4, 11


def inputs():
    generator = torch.Generator().manual_seed(0)
    make = lambda *size: torch.randn(size, generator=generator, dtype=torch.float64)  # noqa: E731
    return make(B, L, D), make(V, D), make(B, L, D), make(V, D), torch.tensor([1, 3, 4, 7])


@pytest.mark.parametrize(("temperature", "softcap"), [(1.0, None), (0.7, None), (1.3, 2.0)])
@pytest.mark.parametrize("chunk", [512, 3])
def test_it_is_the_sum_over_the_vocabulary_with_the_right_slope(temperature, softcap, chunk, monkeypatch):
    monkeypatch.setattr(divergence, "chunk_of", lambda *_: chunk)
    hidden, weight, ref_hidden, ref_weight, scored = inputs()
    hidden.requires_grad_(), weight.requires_grad_(), ref_hidden.requires_grad_()
    found = reference_kl(hidden, weight, ref_hidden, ref_weight, scored, temperature=temperature, softcap=softcap)
    cap = (lambda x: softcap * (x / softcap).tanh()) if softcap else (lambda x: x)
    whole = kl_of_logits(cap(hidden @ weight.T), cap(ref_hidden @ ref_weight.T), scored, temperature=temperature)
    torch.testing.assert_close(found, whole)
    assert (found.flatten()[scored] > 0).all()
    assert not found.flatten()[[0, 2, 5, 6, 8, 9]].any()
    upstream = torch.arange(B * L, dtype=torch.float64).view(B, L)
    slopes = torch.autograd.grad((found * upstream).sum(), (hidden, weight), retain_graph=True)
    torch.testing.assert_close(slopes, torch.autograd.grad((whole * upstream).sum(), (hidden, weight)))


def test_a_model_has_not_moved_from_itself():
    [batch] = pack([(example([1, 2, 3]),), (example([4, 5]),)], rows=1, length=5)
    model, other = tiny_model(), tiny_model(seed=1)
    assert Outputs(model, batch, reference=model).reference_kl_BL.abs().max() < 1e-6
    assert Outputs(model, batch, reference=other).reference_kl_BL.sum() > 1e-4


def test_an_objective_without_its_reference_is_told():
    [batch] = pack([(example([1, 2]),)], rows=1, length=2)
    with pytest.raises(RuntimeError, match="give the trainer a reference"):
        _ = Outputs(tiny_model(), batch).reference_kl_BL
