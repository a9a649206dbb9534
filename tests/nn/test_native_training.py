"""The blocks in C++ give the transformer's states and slopes, for every family they are for, packed or not."""

from dataclasses import replace

import pytest
import torch

from tests.nn.io_models import SHAPES, V
from trivium.core.types import example
from trivium.data.pack import pack
from trivium.nn.adapter import adapt
from trivium.nn.lora import LoRA
from trivium.nn.model import Model
from trivium.nn.native import block, library, training
from trivium.nn.transformer import block_diagonal

if library.why_not() is not None:
    pytest.skip(f"no native kernels: {library.why_not()}", allow_module_level=True)

FAMILIES = [name for name in SHAPES if name not in ("gemma2", "olmo2")]
LENGTHS = [(30, 7, 60), (97,), (50, 47)]  # of the sequences in each row
POSITION = torch.stack([torch.cat([torch.arange(length) for length in row]) for row in LENGTHS])
SEQUENCE = torch.stack([torch.cat([torch.full((length,), number) for number, length in enumerate(row)]) for row in LENGTHS])
TOKENS = torch.randint(0, V, POSITION.shape, generator=torch.Generator().manual_seed(1))
RANDOM = torch.Generator().manual_seed(2)


def random_model(family: str, **options: object) -> Model:
    model = Model(replace(SHAPES[family], head_dim=16, max_seq_len=128, **options))
    with torch.no_grad():
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3, generator=RANDOM)
    return model


def states_and_slopes(model: Model, probe_BLD: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    hidden_BLD = model.trunk(TOKENS, POSITION, block_diagonal(SEQUENCE))
    (hidden_BLD * probe_BLD).sum().backward()
    slopes = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return {"states": hidden_BLD.detach()} | slopes


def assert_near(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """To a millionth of the norm of all slopes: some, as that of a key's bias, are 0 but for rounding."""
    size = sum(float(value.square().sum()) for name, value in expected.items() if name != "states") ** 0.5
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        unit = float(value.norm()) if name == "states" else size
        torch.testing.assert_close(found[name] / unit, value / unit, atol=1e-6, rtol=0, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("family", FAMILIES)
def test_states_and_slopes_are_the_transformers(family):
    model = random_model(family)
    probe_BLD = torch.randn(*TOKENS.shape, model.config.hidden_size, generator=RANDOM)
    expected = states_and_slopes(model, probe_BLD)
    assert block.why_not_train(model.trunk) is None
    block.use(model.trunk)
    found = states_and_slopes(model, probe_BLD)
    assert_near(found, expected)


@pytest.mark.parametrize("targets", [("query", "value", "up"), ("query", "key", "value", "out", "gate", "up", "down")])
def test_adapters_learn_as_they_do_without_kernels(targets):
    model = random_model("llama")
    adapt(model, LoRA(r=4, targets=targets), seed=1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("lora_B"):
                parameter.normal_(std=0.1, generator=RANDOM)
    probe_BLD = torch.randn(*TOKENS.shape, model.config.hidden_size, generator=RANDOM)
    expected = states_and_slopes(model, probe_BLD)
    block.use(model.trunk)
    found = states_and_slopes(model, probe_BLD)
    assert_near(found, expected)


def test_a_base_in_int8_goes_without_kernels():
    model = random_model("llama")
    assert block.use(model.trunk) is None
    adapt(model, LoRA(r=4, base="int8"), seed=1)
    assert "int8" in str(block.use(model.trunk))
    assert model.trunk.twin is None


@pytest.mark.parametrize("how", ["int8", "bfloat16"])
@pytest.mark.parametrize("family", ["qwen3", "gpt_neox"])
def test_products_in_fewer_bits_are_near(family, how):
    model = random_model(family)
    probe_BLD = torch.randn(*TOKENS.shape, model.config.hidden_size, generator=RANDOM)
    expected = states_and_slopes(model, probe_BLD)
    block.use(model.trunk, how)
    found = states_and_slopes(model, probe_BLD)
    assert not torch.equal(found["states"], expected["states"])
    for name, value in found.items():
        cosine = torch.nn.functional.cosine_similarity(value.flatten(), expected[name].flatten(), dim=0)
        assert cosine > 0.99, name


def test_a_position_that_the_model_lacks_is_refused():
    model = random_model("llama")
    block.use(model.trunk)
    model.trunk(TOKENS[:, :1], torch.full((3, 1), 128))  # the last token of a window, whose next one is only predicted
    with pytest.raises(IndexError, match="position 129 of a model that has 129"):
        model.trunk(TOKENS[:, :1], torch.full((3, 1), 129))


def test_a_model_in_bfloat16_has_its_products_in_it_and_its_states_in_float32():
    model = random_model("llama")
    model.trunk.compute_dtype = torch.bfloat16
    assert block.use(model.trunk) is None
    training_states = model.trunk(TOKENS, POSITION)
    with torch.no_grad():
        assert torch.equal(model.trunk(TOKENS, POSITION), training_states)
    assert training_states.dtype == torch.float32
    block.use(model.trunk, "bfloat16")
    assert torch.equal(model.trunk(TOKENS, POSITION), training_states)


def test_a_head_is_rounded_only_where_it_learns():
    """Log-probs that are read without a slope are compared between models, and stay exact."""
    model = random_model("llama")
    model.trunk.compute_dtype = torch.bfloat16
    block.use(model.trunk)
    [batch] = pack([(example(TOKENS[0].tolist()),)], rows=1, length=TOKENS.shape[1])

    def logprobs() -> torch.Tensor:
        return model.logprobs(model.hidden(batch), batch, 1.0, with_entropy=False)[0]

    exact = logprobs().detach()
    model.is_head_rounded = True
    assert not torch.equal(logprobs(), exact)
    torch.testing.assert_close(logprobs(), exact, atol=0.1, rtol=0.05)
    with torch.no_grad():
        assert torch.equal(logprobs(), exact)


@pytest.mark.parametrize("has_norms", [True, False])
def test_heads_of_a_joint_in_bfloat16_have_the_bits_of_the_same_numbers_in_float32(has_norms):
    draw = torch.Generator().manual_seed(4)
    numbers = torch.randn(2, 7, (4 + 2 * 2) * 16, generator=draw).bfloat16()
    rope = (torch.rand(9, 8, generator=draw), torch.rand(9, 8, generator=draw))
    position = torch.arange(7).expand(2, 7).contiguous()

    def outcome(joint: torch.Tensor) -> list[torch.Tensor]:
        weights = [torch.rand(16, generator=torch.Generator().manual_seed(seed)).requires_grad_() for seed in (5, 6)]
        joint = joint.clone().requires_grad_()
        found = training.heads(joint, tuple(weights) if has_norms else (None, None), rope, position, (4, 2, 16), 1e-6)
        sum((part * torch.linspace(-1, 2, part.numel()).view_as(part)).sum() for part in found).backward()
        return [*(part.detach() for part in found), joint.grad, *(weight.grad for weight in weights if has_norms)]

    half, whole = outcome(numbers), outcome(numbers.float())
    assert half[3].dtype == torch.bfloat16
    whole[3] = whole[3].bfloat16()
    for found, expected in zip(half, whole, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("activation", ["silu", "gelu", "gelu_tanh"])
def test_a_gated_mlp_at_once_has_the_bits_of_its_parts(activation):
    def inputs() -> list[torch.Tensor]:
        draw = torch.Generator().manual_seed(3)
        return [torch.randn(shape, generator=draw).requires_grad_() for shape in ((37, 48), (96, 48), (96, 48), (48, 96))]

    def outcome(compute) -> list[torch.Tensor]:
        x, gate, up, down = inputs()
        y = compute(x, gate, up, down)
        (y * torch.linspace(-1, 2, y.numel()).view_as(y)).sum().backward()
        return [y.detach(), *(tensor.grad for tensor in (x, gate, up, down))]

    def parts(x, gate, up, down):
        between = training.gated(training.products(x, [gate, up], None, "bfloat16"), activation)
        return training.products(between, [down], None, "bfloat16")

    at_once = outcome(lambda *given: training.gated_mlp(*given, activation))
    for found, expected in zip(at_once, outcome(parts), strict=True):
        assert torch.equal(found, expected)


def test_what_is_not_finite_stays_so_in_bfloat16():
    x, gate, up, down = torch.zeros(1, 16), torch.eye(16), torch.eye(16), torch.eye(16)
    x[0, 3], x[0, 5] = (
        torch.tensor(-1, dtype=torch.int32).view(torch.float32),
        torch.inf,
    )  # the bits of a nan that rounding could carry over
    y = training.gated_mlp(x, gate, up, down, "silu")
    assert y.isnan().all()


def test_a_frozen_gated_mlp_has_a_slope_by_its_input_alone():
    x, weights = torch.randn(5, 16, requires_grad=True), [torch.randn(16, 16) for _ in "abc"]
    training.gated_mlp(x, *weights, "silu").sum().backward()
    assert x.grad.isfinite().all()
    assert all(weight.grad is None for weight in weights)


def test_a_bfloat16_product_by_hand():
    x, w = torch.tensor([[1 + 2**-9, 2.0]], requires_grad=True), torch.tensor([[3.0, 2**-9]], requires_grad=True)  # rounds to 1
    y = training.products(x, [w], torch.tensor([0.25]), "bfloat16")
    assert y.item() == 3.0 + 0.25  # 3 + 2^-8 is rounded to 3
    y.backward(torch.tensor([[1 + 2**-9]]))
    assert x.grad.tolist() == [[3.0, 2**-9]]
    assert w.grad.tolist() == [[1.0, 2.0]]


def test_an_int8_product_by_hand():
    x, w = torch.tensor([[127.0, 1.0] * 8, [0.0, -2.0] * 8]), torch.tensor([[1.0, 0.5] * 8] * 16)
    first, second = training.products(x, [w], None, "int8")[:, 3].tolist()
    assert first == pytest.approx(8 * (127 * 1 + 1 * 64 / 127), rel=1e-6)  # 0.5 is 64 of 127 parts of the largest
    assert second == pytest.approx(8 * (-2 * 64 / 127), rel=1e-6)


def test_sizes_that_int8_cannot_do_are_refused():
    with pytest.raises(ValueError, match="multiples of 16"):
        training.products(torch.ones(2, 16), [torch.ones(1, 16)], None, "int8")


def test_a_squared_relu_and_its_slope_by_hand():
    x = torch.tensor([3.0, -2.0, float("nan"), 0.5] * 4, requires_grad=True)
    y = training.squared_relu(x)
    y.backward(torch.full((16,), 10.0))
    torch.testing.assert_close(y[:4].detach(), torch.tensor([9.0, 0, float("nan"), 0.25]), equal_nan=True)
    torch.testing.assert_close(x.grad[:4], torch.tensor([60.0, 0, float("nan"), 10]), equal_nan=True)


def test_frozen_weights_get_no_slope_and_pass_one_on():
    x, frozen, trained = (
        torch.randn(size, 32, generator=RANDOM, requires_grad=trains) for size, trains in ((5, True), (16, False), (16, True))
    )
    training.products(x, [frozen, trained], None, "float32").sum().backward()
    assert frozen.grad is None
    torch.testing.assert_close(trained.grad, x.detach().sum(0).expand(16, -1), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.grad, (frozen.sum(0) + trained.detach().sum(0)).expand(5, -1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("width", [16, 100, 5_003])
def test_logsumexp_and_its_slope_are_those_of_float64(width):
    logits = 4 * torch.randn(9, width, generator=RANDOM)
    target, weight = torch.randint(0, width, (9,), generator=RANDOM), torch.randn(9, generator=RANDOM)
    exact = logits.double().requires_grad_()
    (exact.log_softmax(-1)[torch.arange(9), target] * weight).sum().backward()
    lse, entropy = training.logsumexp(logits, with_entropy=True)
    torch.testing.assert_close(lse.double(), exact.detach().logsumexp(-1), atol=1e-6, rtol=1e-6)
    log_p = exact.detach().log_softmax(-1)
    torch.testing.assert_close(entropy.double(), -(log_p.exp() * log_p).sum(-1), atol=1e-6, rtol=1e-5)
    assert torch.equal(training.logsumexp(logits)[0], lse)
    torch.testing.assert_close(training.softmax_slope(logits, target, lse, weight).double(), exact.grad, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("family", "reason"), [("gemma2", "attention of gemma2"), ("olmo2", "attention of olmo2")])
def test_families_without_a_kernel_say_so(family, reason):
    assert reason in str(block.why_not_train(random_model(family).trunk))


def test_other_precisions_say_so():
    model = Model(replace(SHAPES["llama"], head_dim=16), compute_dtype=torch.float16)
    assert "not torch.float16" in str(block.why_not_train(model.trunk))


@pytest.mark.parametrize("where", ["mlp.up.weight", "attention.query.weight"])
def test_int8_hides_no_number_that_is_none(where):
    model = random_model("llama")
    block.use(model.trunk, "int8")
    with torch.no_grad():
        model.trunk.blocks[0].get_parameter(where)[3, 5] = float("nan")
    found = states_and_slopes(model, torch.ones(*TOKENS.shape, model.config.hidden_size))
    assert found["states"].isnan().any()
    assert found["trunk.embed.weight"].isnan().any()


def test_rows_at_a_time_move_slopes_of_int8_by_little():
    model = random_model("llama")
    block.use(model.trunk, "int8")
    together = states_and_slopes(model, torch.ones(*TOKENS.shape, model.config.hidden_size))
    apart: dict[str, torch.Tensor] = {}
    for row in range(len(TOKENS)):
        model.zero_grad()
        model.trunk(TOKENS[row : row + 1], POSITION[row : row + 1]).sum().backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                apart[name] = apart.get(name, 0) + parameter.grad
    size = sum(float(value.square().sum()) for value in apart.values()) ** 0.5
    assert 0 < sum(float((together[name] - value).square().sum()) for name, value in apart.items()) ** 0.5 < 0.03 * size
