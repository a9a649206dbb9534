import math

import pytest
import torch

from tests.nn.tiny import tiny_model
from trivium.core.types import example
from trivium.data.pack import pack
from trivium.nn import divergence
from trivium.nn.divergence import divergence as divergence_between, divergence_of_logits
from trivium.nn.outputs import Outputs

B, L, D, V = 2, 5, 4, 11


def inputs():
    generator = torch.Generator().manual_seed(0)
    make = lambda *size: torch.randn(size, generator=generator, dtype=torch.float64)  # noqa: E731
    return make(B, L, D), make(V, D), make(B, L, D), make(V, D), torch.tensor([1, 3, 4, 7])


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("temperature", "softcap"), [(1.0, None), (0.7, None), (1.3, 2.0)])
@pytest.mark.parametrize("chunk", [512, 3])
def test_it_is_the_sum_over_the_vocabulary_with_the_right_slope(beta, temperature, softcap, chunk, monkeypatch):
    monkeypatch.setattr(divergence, "chunk_of", lambda *_: chunk)
    hidden, weight, ref_hidden, ref_weight, scored = inputs()
    hidden.requires_grad_(), weight.requires_grad_(), ref_hidden.requires_grad_()
    softcaps = (softcap, softcap)
    found = divergence_between(hidden, weight, ref_hidden, ref_weight, scored, beta=beta, temperature=temperature, softcaps=softcaps)
    cap = (lambda x: softcap * (x / softcap).tanh()) if softcap else (lambda x: x)
    whole = divergence_of_logits(cap(hidden @ weight.T), cap(ref_hidden @ ref_weight.T), scored, beta=beta, temperature=temperature)
    torch.testing.assert_close(found, whole)
    assert (found.flatten()[scored] > 0).all()
    assert not found.flatten()[[0, 2, 5, 6, 8, 9]].any()
    upstream = torch.arange(B * L, dtype=torch.float64).view(B, L)
    slopes = torch.autograd.grad((found * upstream).sum(), (hidden, weight), retain_graph=True)
    torch.testing.assert_close(slopes, torch.autograd.grad((whole * upstream).sum(), (hidden, weight)))


def test_beta_leads_from_one_direction_of_the_kl_to_the_other():
    """Two words, by hand: policy 1/4 and 3/4, reference 1/2 and 1/2."""
    policy, reference = torch.tensor([1.0, 3.0], dtype=torch.float64).log(), torch.zeros(2, dtype=torch.float64)
    logits, scored = [each.expand(1, 2, 2) for each in (policy, reference)], torch.tensor([1])
    found = {beta: float(divergence_of_logits(*logits, scored, beta=beta, temperature=1.0)[0, 1]) for beta in (0, 1e-6, 0.5, 1 - 1e-6, 1)}
    assert found[0] == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert found[1] == pytest.approx(0.25 * math.log(1 / 2) + 0.75 * math.log(3 / 2))
    middle = 0.5 * (0.5 * math.log(4 / 3) + 0.5 * math.log(4 / 5)) + 0.5 * (0.25 * math.log(2 / 3) + 0.75 * math.log(6 / 5))
    assert found[0.5] == pytest.approx(middle)
    assert found[1e-6] / 1e-6 == pytest.approx(found[0], rel=1e-4)
    assert found[1 - 1e-6] / 1e-6 == pytest.approx(found[1], rel=1e-4)


def test_a_model_has_not_moved_from_itself():
    [batch] = pack([(example([1, 2, 3]),), (example([4, 5]),)], rows=1, length=5)
    model, other = tiny_model(), tiny_model(seed=1)
    assert Outputs(model, batch, reference=model).reference_kl_BL.abs().max() < 1e-6
    assert Outputs(model, batch, reference=other).reference_kl_BL.sum() > 1e-4


def test_an_objective_without_its_reference_is_told():
    [batch] = pack([(example([1, 2]),)], rows=1, length=2)
    with pytest.raises(RuntimeError, match="give the trainer a reference"):
        _ = Outputs(tiny_model(), batch).reference_kl_BL
