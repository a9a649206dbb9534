"""Log-probs and entropies of the chunked head are those of a plain log-softmax, forwards and backwards."""

from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from trivium.nn import heads
from trivium.nn.heads import CHUNK, ScalarHead, greedy_of_logits, greedy_tokens, token_logprobs, values_before
from trivium.nn.native.library import why_not

ROWS, LENGTH, WIDTH, WORDS = 3, 7, 5, 11
SCORED = torch.tensor([1, 2, 5, 8, 9, 13, 15, 20])


def inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(ROWS, LENGTH, WIDTH, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    weight = torch.randn(WORDS, WIDTH, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    return hidden, weight, torch.randint(0, WORDS, (ROWS, LENGTH), generator=generator)


def plain(hidden_BLD: Tensor, weight_VD: Tensor, tokens_BL: Tensor, temperature: float, softcap: float | None) -> tuple[Tensor, Tensor]:
    """What the head computes, with all logits at once."""
    logits = (hidden_BLD @ weight_VD.T).flatten(0, 1)[SCORED - 1]
    logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
    log_p = torch.log_softmax(logits / temperature, -1)
    logprobs, entropy = torch.zeros(2, tokens_BL.numel(), dtype=hidden_BLD.dtype)
    logprobs = logprobs.index_copy(0, SCORED, log_p.gather(-1, tokens_BL.flatten()[SCORED, None])[:, 0])
    return logprobs.view_as(tokens_BL), entropy.index_copy(0, SCORED, -(log_p.exp() * log_p).sum(-1)).view_as(tokens_BL)


def outcome(
    compute: object, temperature: float, weights: tuple[float, float], dtype: torch.dtype = torch.float64, softcap: float | None = None
) -> list[Tensor]:
    """Values and gradients of a weighted sum of log-probs and entropies."""
    hidden, weight, tokens = inputs(dtype)
    logprobs, entropy = compute(hidden, weight, tokens, temperature, softcap)
    factor = torch.linspace(-1, 2, tokens.numel(), dtype=logprobs.dtype).view_as(tokens)
    loss = (factor * (weights[0] * logprobs + weights[1] * entropy)).sum()
    return [logprobs.detach(), entropy.detach(), *torch.autograd.grad(loss, (hidden, weight))]


def chunked(hidden: Tensor, weight: Tensor, tokens: Tensor, temperature: float, softcap: float | None = None) -> tuple[Tensor, Tensor]:
    return token_logprobs(hidden, weight, tokens, SCORED, temperature=temperature, with_entropy=True, softcap=softcap)


@pytest.fixture(params=["kept", "computed again"])
def _small_chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks that do not divide the number of positions."""
    monkeypatch.setattr(heads, "CHUNK", 3)
    monkeypatch.setattr(heads, "KEEP_BYTES", heads.KEEP_BYTES if request.param == "kept" else 0)


@pytest.mark.usefixtures("_small_chunks")
@pytest.mark.parametrize("temperature", [1.0, 0.6, 1.5])
@pytest.mark.parametrize("softcap", [None, 2.5])
@pytest.mark.parametrize("weights", [(1, 0), (0, 1), (0.7, -0.3)], ids=["log-prob", "entropy", "both"])
def test_values_and_gradients_are_those_of_a_log_softmax(temperature, softcap, weights):
    ours, expected = (outcome(compute, temperature, weights, softcap=softcap) for compute in (chunked, plain))
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


NATIVE = pytest.param("native", marks=pytest.mark.skipif(bool(why_not()), reason=str(why_not())))


@pytest.mark.usefixtures("_small_chunks")
@pytest.mark.parametrize("kernels", ["torch", NATIVE])
def test_gradients_in_float32_are_those_of_a_log_softmax_to_1e_6(kernels):
    def compute(hidden: Tensor, weight: Tensor, tokens: Tensor, temperature: float, softcap: float | None) -> tuple[Tensor, Tensor]:
        return token_logprobs(hidden, weight, tokens, SCORED, temperature=temperature, softcap=softcap, kernels=kernels)

    ours, expected = (outcome(each, 0.7, (1, 0), torch.float32, 2.5) for each in (compute, plain))
    del ours[1], expected[1]  # no entropy was asked for
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("softcap", [None, 2.5])
def test_kept_and_recomputed_logits_give_the_same_bits(monkeypatch, dtype, temperature, softcap):
    monkeypatch.setattr(heads, "CHUNK", 3)
    kept = outcome(chunked, temperature, (0.7, -0.3), dtype, softcap)
    monkeypatch.setattr(heads, "KEEP_BYTES", 0)
    torch.testing.assert_close(outcome(chunked, temperature, (0.7, -0.3), dtype, softcap), kept, rtol=0, atol=0)


@pytest.mark.parametrize("kernels", ["torch", NATIVE])
@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.7, -0.3)])
def test_a_slope_in_another_precision_is_that_of_probabilities_that_sum_to_1(monkeypatch, kernels, weights):
    """Of likely tokens the slope is small: that of rounded logits less the logsumexp of exact ones would be wrong by far more than it."""

    def mixed(hidden: Tensor, weight: Tensor, tokens: Tensor, temperature: float, softcap: float | None) -> tuple[Tensor, Tensor]:
        return token_logprobs(
            9 * hidden, weight, tokens, SCORED, temperature=temperature, with_entropy=bool(weights[1]), softcap=softcap, kernels=kernels,
            slope_dtype=torch.bfloat16,
        )  # fmt: skip

    def sharp(hidden: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        return plain(9 * hidden, *rest)

    monkeypatch.setattr(heads, "KEEP_BYTES", 0)
    best = (9 * inputs()[0] @ inputs()[1].T).flatten(0, 1).argmax(-1).roll(1).view(ROWS, LENGTH)
    monkeypatch.setattr(f"{__name__}.inputs", lambda dtype, of=inputs: (*of(dtype)[:2], best))
    _, _, *found = outcome(mixed, 1.0, weights, torch.float32)
    _, _, *expected = outcome(sharp, 1.0, weights, torch.float64)
    for slope, exact in zip(found, expected, strict=True):
        assert (slope - exact).norm() < 0.03 * exact.norm()


@pytest.mark.skipif(bool(why_not()), reason=str(why_not()))
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("softcap", [None, 2.5])
def test_kernels_give_values_and_gradients_of_a_log_softmax(temperature, softcap):
    def native(hidden: Tensor, weight: Tensor, tokens: Tensor, temperature: float, softcap: float | None) -> tuple[Tensor, Tensor]:
        return token_logprobs(hidden, weight, tokens, SCORED, temperature=temperature, softcap=softcap, kernels="native")

    found = outcome(native, temperature, (1, 0), torch.float32, softcap)
    logprobs, _, *slopes = outcome(plain, temperature, (1, 0), torch.float64, softcap)
    torch.testing.assert_close([found[0], *found[2:]], [logprobs.float(), *map(Tensor.float, slopes)], rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("_small_chunks")
@pytest.mark.parametrize("kernels", ["torch", NATIVE])
def test_rounded_products_are_those_of_rounded_factors(kernels):
    """Values to what bf16 keeps of a logit below 16; the log-softmax of them stays exact, so gains and losses of a row cancel."""

    def rounded(hidden: Tensor, weight: Tensor, tokens: Tensor, temperature: float, softcap: float | None) -> tuple[Tensor, Tensor]:
        half = {"dtype": torch.bfloat16, "slope_dtype": torch.bfloat16}
        return token_logprobs(hidden, weight, tokens, SCORED, temperature=temperature, softcap=softcap, kernels=kernels, **half)

    def of_rounded(hidden: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        return plain(hidden.bfloat16().to(hidden.dtype), weight.bfloat16().to(weight.dtype), *rest)

    found = outcome(rounded, 1.0, (1, 0), torch.float32)
    expected, exact = (outcome(compute, 1.0, (1, 0), torch.float32) for compute in (of_rounded, plain))
    assert found[0].dtype == torch.float32
    torch.testing.assert_close([found[0], *found[2:]], [expected[0], *expected[2:]], rtol=2**-6, atol=2**-5)
    assert not torch.equal(found[0], exact[0])


@pytest.mark.parametrize("softcap", [None, 2.5])
def test_a_backward_pass_leaves_the_kept_logits_as_they_were(softcap):
    hidden, weight, tokens = inputs()
    loss = chunked(hidden, weight, tokens, 1.0, softcap)[0].sum()
    first, second = (torch.autograd.grad(loss, hidden, retain_graph=True)[0] for _ in "ab")
    assert torch.equal(first, second)


def test_the_log_softmax_is_in_fp32_when_the_states_are_in_bf16():
    hidden, weight, tokens = inputs(torch.bfloat16)
    logprobs, _ = token_logprobs(hidden, weight, tokens, SCORED)
    raw = (hidden @ weight.T).flatten(0, 1)[SCORED - 1].double().log_softmax(-1)
    torch.testing.assert_close(logprobs.flatten()[SCORED].double(), raw.gather(-1, tokens.flatten()[SCORED, None])[:, 0], rtol=0, atol=1e-6)


def test_without_anything_to_score_there_is_a_graph_and_a_zero_gradient():
    hidden, weight, tokens = inputs()
    logprobs, _ = token_logprobs(hidden, weight, tokens, SCORED[:0])
    gradients = torch.autograd.grad(logprobs.sum(), (hidden, weight))
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("softcap", [None, 2.5])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_what_the_compiler_makes_of_it_is_the_same(monkeypatch, temperature, softcap):
    def compiled(hidden: Tensor, weight: Tensor, tokens: Tensor, temperature: float, softcap: float | None) -> tuple[Tensor, Tensor]:
        return token_logprobs(
            hidden, weight, tokens, SCORED, temperature=temperature, with_entropy=True, softcap=softcap, kernels="compiled"
        )

    monkeypatch.setattr(heads, "CHUNK", 3)  # 8 positions: the last chunk is another shape
    monkeypatch.setattr(heads, "_compiled", cache(partial(torch.compile, backend="aot_eager", fullgraph=True)))
    ours, expected = (outcome(compute, temperature, (0.7, -0.3), softcap=softcap) for compute in (compiled, plain))
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_on_a_gpu_chunks_have_half_a_gigabyte_and_a_sixteenth_of_its_memory_is_kept(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=80 << 30))
    there = torch.device("cuda")
    assert [heads.keep_bytes(there, vocab) for vocab in (8_192, 49_152)] == [5 << 30, 0]
    assert [heads.chunk_of(there, vocab) for vocab in (1 << 30, 50_304, 8_192)] == [512, 2_560, 16_384]
    assert heads.chunk_of(torch.device("cpu"), 8_192) == CHUNK


def test_a_value_is_read_before_its_token():
    assert values_before(torch.tensor([[1.0, 2, 3]])).tolist() == [[0, 1, 2]]


def test_a_scalar_head_is_a_dot_product_with_gain_and_bias():
    head = ScalarHead(3)
    torch.nn.init.constant_(head.weight, 2.0)
    head.gain.fill_(0.5)
    head.bias.fill_(-1)
    assert head(torch.tensor([[[1.0, 2, 3]]], dtype=torch.bfloat16)).tolist() == [[5.0]]


class Largest(TorchDispatchMode):
    """The most numbers that a tensor made inside of it has."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        tensors = made if isinstance(made, (tuple, list)) else (made,)
        self.most = max([self.most, *(tensor.numel() for tensor in tensors if isinstance(tensor, torch.Tensor))])
        return made


@pytest.mark.parametrize("kernels", ["torch", NATIVE])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("positions", [600, 1_024, 1_536])
def test_of_a_large_vocabulary_no_logits_of_a_whole_micro_batch_are_made_or_kept(positions, kernels, dtype):
    if kernels == "native" and dtype != torch.float32:
        pytest.skip("native kernels are for float32")
    vocab, width = 49_152, 16
    hidden_BLD = torch.randn(2, positions // 2, width, dtype=dtype, requires_grad=True)
    weight_VD = torch.randn(vocab, width, requires_grad=True)
    tokens_BL, kept = torch.randint(0, vocab, (2, positions // 2)), []
    with Largest() as seen, torch.autograd.graph.saved_tensors_hooks(lambda x: (kept.append(x.numel()), x)[1], lambda x: x):
        logprobs_BL, _ = token_logprobs(hidden_BLD, weight_VD, tokens_BL, torch.arange(1, positions), kernels=kernels)
        logprobs_BL.sum().backward()
    assert seen.most == CHUNK * vocab
    assert 0 < sum(kept) < CHUNK * vocab / 10


@pytest.mark.parametrize(("vocab", "is_kept"), [(heads.KEEP_WORDS, True), (heads.KEEP_WORDS + 1, False)])
def test_of_a_small_vocabulary_they_are_kept(vocab, is_kept):
    hidden_BLD, weight_VD = torch.randn(1, 9, 4, requires_grad=True), torch.randn(vocab, 4)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: (kept.append(x.numel()), x)[1], lambda x: x):
        token_logprobs(hidden_BLD, weight_VD, torch.randint(0, vocab, (1, 9)), torch.arange(1, 9))
    assert (8 * vocab in kept) == is_kept


@pytest.mark.parametrize("chunk", [2, 512])
def test_a_greedy_token_is_the_likeliest_after_what_comes_before_it(chunk, monkeypatch):
    monkeypatch.setattr(heads, "CHUNK", chunk)
    hidden, weight, tokens = inputs()
    logits = hidden @ weight.T
    best = logits.flatten(0, 1)[SCORED - 1].argmax(-1)
    tokens.view(-1)[SCORED[::2]] = best[::2]  # every other one is made greedy
    expected = torch.zeros(ROWS * LENGTH)
    expected[SCORED] = (tokens.view(-1)[SCORED] == best).float()
    assert 0 < expected.sum() < len(SCORED)
    torch.testing.assert_close(greedy_tokens(hidden, weight, tokens, SCORED), expected.view(ROWS, LENGTH))
    torch.testing.assert_close(greedy_of_logits(logits, tokens, SCORED), expected.view(ROWS, LENGTH))


def test_where_nothing_is_scored_the_head_still_has_a_slope():
    """Ranks sum their slopes, and one whose rows have no answer must not be the one that has none."""
    hidden, weight, tokens = inputs()
    logprobs, _ = token_logprobs(hidden, weight, tokens, torch.empty(0, dtype=torch.long))
    logprobs.sum().backward()
    assert weight.grad is not None
    assert not weight.grad.any()
