"""Products in 8-bit floats, on the CPU, whose torch multiplies them too."""

from types import SimpleNamespace

import pytest
import torch

from tests.nn.tiny import tiny_model
from trivium.core.errors import ConfigError
from trivium.core.types import example
from trivium.data.pack import pack
from trivium.nn import fp8
from trivium.nn.model import Model
from trivium.train.selftest_fp8 import FP8, fp8_checks

WIDE = {"hidden_size": 32, "num_heads": 2, "num_kv_heads": 1, "head_dim": 16, "intermediate_size": 48}
CUDA = torch.device("cuda")


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes, scales = ((2, 32, 128), (96, 128), (96,)), (3.0, 1e-3, 1e-3)  # of quite different sizes: scales must take care of it
    return tuple((torch.randn(shape, generator=generator) * scale).requires_grad_() for shape, scale in zip(shapes, scales, strict=True))


def outcome(multiply: object, dtype: torch.dtype) -> list[torch.Tensor]:
    leaves = [x.detach().to(dtype).requires_grad_() for x in inputs()]
    y = multiply(*leaves)
    slope = torch.randn(y.shape, generator=torch.Generator().manual_seed(4)).to(dtype)
    return [y.detach(), *torch.autograd.grad(y, leaves, slope)]


def test_values_and_slopes_are_those_of_a_product_within_a_few_per_cent():
    ours, exact = outcome(fp8.product, torch.bfloat16), outcome(torch.nn.functional.linear, torch.float64)
    errors = [float((one.double() - other).norm() / other.norm()) for one, other in zip(ours, exact, strict=True)]
    assert [one.dtype for one in ours] == [torch.bfloat16] * 4
    assert errors[0] < 0.04  # both factors in e4m3
    assert max(errors[1:3]) < 0.08  # the slope in e5m2
    assert errors[3] < 0.01  # of the bias, which is not multiplied


def test_the_slope_by_a_weight_in_fp32_is_in_fp32():
    x, weight, _ = inputs()
    fp8.product(x.to(torch.bfloat16), weight, None).sum().backward()
    assert weight.grad.dtype == torch.float32


def test_small_whole_numbers_are_exact():
    x, weight = torch.eye(16) * 448, torch.arange(256.0).view(16, 16).remainder(8) * 64
    assert torch.equal(fp8.product(x.requires_grad_(), weight, None), 448 * weight.T)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(bad):
    x, weight, _ = inputs()
    with torch.no_grad():
        x[0, 0, 0] = bad
    assert not fp8.product(x.to(torch.bfloat16), weight, None).isfinite().all()


def trained(model: Model) -> list[torch.Tensor]:
    [batch] = pack([(example(range(16)),), (example(range(15, -1, -1)),)], rows=2, length=16)
    hidden = model.hidden(batch)
    hidden.square().mean().backward()
    return [hidden.detach(), *(parameter.grad for parameter in model.trunk.blocks.parameters())]


def test_a_model_trains_with_it_speaks_without_it_and_is_saved_as_before():
    model, plain = tiny_model(**WIDE), tiny_model(**WIDE)
    fp8.use(model.trunk, 16)
    for one, other in zip(trained(model), trained(plain), strict=True):
        assert one.dtype == other.dtype
        assert 0 < (one - other).norm() / other.norm() < 0.5  # weights of 0.4 make errors grow from layer to layer
    assert model.state_dict().keys() == plain.state_dict().keys()
    with torch.no_grad():
        tokens, position = torch.arange(16)[None], torch.arange(16)[None]
        assert torch.equal(model.trunk(tokens, position), plain.trunk(tokens, position))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch looks at it while tracing
def test_the_compiler_sees_one_graph():
    x, weight, bias = inputs()
    compiled = torch.compile(fp8.product, fullgraph=True, dynamic=False, backend="aot_eager")
    torch.testing.assert_close(outcome(compiled, torch.bfloat16), outcome(fp8.product, torch.bfloat16), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "seq_len", "words"),
    [
        ({}, 24, "seq_len is 24"),
        ({"intermediate_size": 40}, 16, "intermediate_size is 40"),
        ({"head_dim": 4}, 16, "num_heads x head_dim is 8"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, seq_len, words):
    with pytest.raises(ConfigError, match=f"{words}, and products in fp8 need multiples of 16; change it, or set"):
        fp8.use(tiny_model(**WIDE | options).trunk, seq_len)


def test_devices_without_it_are_told_apart(monkeypatch):
    assert fp8.why_not_fp8(torch.device("cpu")) == "they are for NVIDIA GPUs, not for cpu"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    assert fp8.why_not_fp8(CUDA) == "they need compute capability 8.9, and this GPU has 8.0"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert fp8.why_not_fp8(CUDA) is None
    monkeypatch.setattr(torch, "version", SimpleNamespace(hip="6.4"))
    assert "not for ROCm" in fp8.why_not_fp8(CUDA)


def test_doctor_checks_it_where_it_is(monkeypatch):
    assert 0 < FP8.error(torch.device("cpu"), torch.bfloat16) <= FP8.limits[torch.bfloat16]
    assert fp8_checks(torch.device("cpu")) == []
    monkeypatch.setattr(fp8, "why_not_fp8", lambda _: None)
    assert fp8_checks(CUDA) == [FP8]


def test_doctor_finds_a_fault_in_it(monkeypatch):
    sound = fp8._rounded
    monkeypatch.setattr(fp8, "_rounded", lambda x, dtype: (sound(x, dtype)[0], sound(x, dtype)[1] * 1.5))
    assert FP8.error(torch.device("cpu"), torch.bfloat16) > FP8.limits[torch.bfloat16]
