"""Low-rank adapters: nothing changes at first, only A and B are trained, merged is the same function, the base is never copied."""

import copy

import pytest
import torch

from tests.nn.adapters import SMALL, adapted
from tests.nn.io_models import SHAPES, V, logits, ours
from tests.nn.tiny import tiny_model
from trivium.core.errors import ConfigError
from trivium.learn.optim import AdamW
from trivium.nn.adapter import AdaptedLinear, Int8Linear, adapt, effective_weight, fingerprint, frozen_reference, merge
from trivium.nn.flops import flops_per_token
from trivium.nn.heads import token_logprobs
from trivium.nn.lora import LoRA
from trivium.nn.model import Model
from trivium.nn.transformer import Linear

TOKENS_BL = torch.randint(0, V, (2, 12), generator=torch.Generator().manual_seed(1))


def linears(model: Model) -> dict[str, AdaptedLinear]:
    return {name: module for name, module in model.named_modules() if isinstance(module, AdaptedLinear)}


def test_an_adapter_by_hand():
    base = Linear(2, 2, bias=True)
    with torch.no_grad():
        base.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        base.bias.copy_(torch.tensor([10.0, 20.0]))
    linear = AdaptedLinear(base, torch.nn.Parameter(torch.tensor([[1.0, -1.0]])), scale=0.5)
    with torch.no_grad():
        linear.lora_B.copy_(torch.tensor([[2.0], [4.0]]))
    x = torch.tensor([3.0, 1.0])  # W x + b = (15, 33); A x = 2; 0.5 B A x = (2, 4)
    torch.testing.assert_close(linear(x), torch.tensor([17.0, 37.0]))
    torch.testing.assert_close(effective_weight(linear), torch.tensor([[2.0, 1.0], [5.0, 2.0]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("family", SHAPES)
def test_a_fresh_adapter_changes_no_bit(family, dtype):
    model = ours(family)
    model.trunk.compute_dtype = dtype
    before = logits(model, TOKENS_BL)
    adapt(model, SMALL, seed=1)
    assert torch.equal(logits(model, TOKENS_BL), before)


@pytest.mark.parametrize(("family", "count"), [("llama", 14), ("qwen3", 14), ("gpt_neox", 12)])
def test_by_default_every_linear_layer_of_the_blocks_has_one_and_nothing_else_is_trained(family, count):
    model = adapted(family)
    assert len(linears(model)) == count
    assert {name.rsplit(".", 1)[1] for name, parameter in model.named_parameters() if parameter.requires_grad} == {"lora_A", "lora_B"}
    assert not model.trunk.embed.weight.requires_grad
    assert not model.trunk.head.weight.requires_grad


@pytest.mark.parametrize("family", SHAPES)
def test_merged_and_unmerged_say_the_same(family):
    model = adapted(family)
    before = logits(model, TOKENS_BL)
    assert not torch.allclose(before, logits(ours(family), TOKENS_BL), atol=0.1)
    merge(model)
    assert not linears(model)
    assert list(model.state_dict()) == list(ours(family).state_dict())
    torch.testing.assert_close(logits(model, TOKENS_BL), before, atol=1e-5, rtol=1e-5)


def test_bf16_stays_near_fp32():
    model = adapted("llama")
    expected = logits(model, TOKENS_BL).detach()
    model.trunk.compute_dtype = torch.bfloat16
    found = logits(model, TOKENS_BL).detach()
    assert found.dtype == torch.bfloat16
    assert float((found.float() - expected).norm() / expected.norm()) < 0.02


def test_the_gradient_is_that_of_the_merged_weight():
    """With W' = W + s B A: dL/dB = s dL/dW' A^T and dL/dA = s B^T dL/dW'."""
    model = adapted("qwen3")
    merged = copy.deepcopy(model)
    merge(merged)
    for each in (model, merged):
        logits(each, TOKENS_BL).square().mean().backward()
    for name, linear in linears(model).items():
        slope = linear.scale * merged.get_parameter(f"{name}.weight").grad
        torch.testing.assert_close(linear.lora_B.grad, slope @ linear.lora_A.detach().T, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(linear.lora_A.grad, linear.lora_B.detach().T @ slope, atol=1e-5, rtol=1e-4)
        assert linear.base.weight.grad is None


def test_layers_that_are_one_matrix_on_disk_share_their_a():
    blocks = adapted("gpt_neox").trunk.blocks
    assert blocks[0].attention.query.lora_A is blocks[0].attention.value.lora_A
    assert blocks[0].attention.query.lora_A is not blocks[1].attention.query.lora_A
    assert len({id(linear.lora_A) for linear in linears(adapted("llama")).values()}) == 14


def test_a_frozen_base_keeps_its_bits():
    model = adapted("llama")
    before, trained = copy.deepcopy(model.state_dict()), {name for name, each in model.named_parameters() if each.requires_grad}
    [optimizer] = AdamW(weight_decay=0.1)(model)
    logits(model, TOKENS_BL).square().mean().backward()
    optimizer.step()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == (name not in trained), name


def test_a_frozen_head_gets_no_gradient_and_the_hidden_states_get_the_same():
    hidden_BLD, weight_VD = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(3)), torch.ones(16, 8)
    found = []
    for is_frozen in (False, True):
        hidden, weight = hidden_BLD.clone().requires_grad_(), weight_VD.clone().requires_grad_(not is_frozen)
        token_logprobs(hidden, weight, TOKENS_BL[:1, :6] % 16, torch.arange(1, 6))[0].sum().backward()
        assert (weight.grad is None) == is_frozen
        found.append(hidden.grad)
    assert torch.equal(*found)


def test_the_reference_of_an_adapted_model_shares_every_frozen_weight_and_is_the_base():
    model = adapted("gpt_neox", has_scalar=True)
    base, head = ours("gpt_neox"), model.scalar_head.weight.detach().clone()
    reference = frozen_reference(model)
    mine = {parameter.data_ptr() for parameter in model.parameters()}
    own = {name for name, parameter in reference.named_parameters() if parameter.data_ptr() not in mine}
    assert own == {"scalar_head.weight"}
    assert not any(parameter.requires_grad for parameter in reference.parameters())
    assert torch.equal(logits(reference, TOKENS_BL), logits(base, TOKENS_BL))
    with torch.no_grad():
        model.scalar_head.weight.zero_()
    assert torch.equal(reference.scalar_head.weight, head)


def test_the_reference_of_a_model_that_is_trained_in_full_is_a_copy():
    model = tiny_model()
    reference = frozen_reference(model)
    assert not {each.data_ptr() for each in model.parameters()} & {each.data_ptr() for each in reference.parameters()}
    torch.testing.assert_close(reference.state_dict(), model.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("family", "targets", "message"),
    [
        ("gpt_neox", ("query", "value"), "gpt_neox stores query, key, value as one matrix; name all of them, or none"),
        ("gpt_neox", ("gate",), "gpt_neox has no layer called gate"),
    ],
)
def test_targets_that_the_family_cannot_have_are_refused(family, targets, message):
    with pytest.raises(ConfigError, match=message):
        adapt(ours(family), LoRA(targets=targets), seed=1)


def test_an_unknown_target_is_refused_with_the_list():
    with pytest.raises(ConfigError, match="'targets.0' is 'q_proj'; it is one of: 'query', 'key'"):
        LoRA(targets=("q_proj",))


def test_int8_is_within_half_a_step_of_each_row_and_its_gradient_is_that_of_what_it_multiplies_by():
    linear = Linear(32, 16, bias=True)
    rounded = Int8Linear(linear)
    step = linear.weight.abs().amax(dim=1, keepdim=True) / 127
    assert bool(((effective_weight(rounded) - linear.weight).abs() <= step / 2 * 1.001).all())
    assert rounded.weight.dtype == torch.int8
    x = torch.randn(5, 32, requires_grad=True)
    plain = x.detach().clone().requires_grad_()
    rounded(x).square().sum().backward()
    torch.nn.functional.linear(plain, effective_weight(rounded), linear.bias).square().sum().backward()
    torch.testing.assert_close(x.grad, plain.grad)


def test_int8_keeps_no_matrix_in_full_for_the_backward_pass():
    saved: list[tuple[torch.dtype, int]] = []
    rounded, x = Int8Linear(Linear(64, 64, bias=False)), torch.randn(2, 64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: saved.append((tensor.dtype, tensor.numel())) or tensor, lambda tensor: tensor
    ):
        rounded(x)
    assert (torch.int8, 64 * 64) in saved
    assert max(size for dtype, size in saved if dtype != torch.int8) <= 2 * 64


def test_an_int8_base_is_trained_on_and_merged_as_it_is():
    model = adapted("llama", LoRA(r=4, alpha=8, base="int8"))
    before = logits(model, TOKENS_BL)
    before.square().mean().backward()
    assert all(linear.lora_B.grad.abs().sum() > 0 for linear in linears(model).values())
    reference = frozen_reference(model)
    shared = {parameter.data_ptr() for parameter in model.parameters()}
    assert all(parameter.data_ptr() in shared for parameter in reference.parameters())
    merge(model)
    torch.testing.assert_close(logits(model, TOKENS_BL), before, atol=1e-5, rtol=1e-5)


def test_a_fingerprint_tells_bases_apart():
    model, other = tiny_model(), tiny_model()
    assert fingerprint(model) == fingerprint(other)
    with torch.no_grad():
        other.trunk.blocks[1].mlp.down.weight[0, 0] += 1e-6
    assert fingerprint(model) != fingerprint(other)


@pytest.mark.parametrize("targets", [("query", "value"), LoRA().targets], ids=len)
def test_parameters_and_work_are_counted(targets):
    lora, model = LoRA(r=3, targets=targets), ours("llama")
    adapt(model, lora, seed=1)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert lora.num_parameters(model.config) == trained
    full = flops_per_token(model.config, 16)
    assert 2 / 3 * full < lora.flops_per_token(model.config, 16) < full
