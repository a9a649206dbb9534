"""What training computes on a device in a precision, compared with references in float64 on the CPU.

References are written here with plain formulas, not with the code that is checked; only the whole model is compared with itself in
float64. Inputs are rounded to the precision first, so an error is one of computing and not of reading.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from trivium.core.types import example
from trivium.data.pack import pack
from trivium.learn.objectives import CrossEntropy
from trivium.learn.optim.muon import POLAR_EXPRESS, Muon
from trivium.learn.optim.recipes import AdamW
from trivium.learn.reduce import Counts
from trivium.nn import heads, kernels, transformer
from trivium.nn.batch import Batch
from trivium.nn.cache import Cache
from trivium.nn.config import ModelConfig
from trivium.nn.decode import CastCopy, NextTokens
from trivium.nn.model import Model
from trivium.train.trainer import Loss

LIMITS = {torch.float32: 1e-4, torch.bfloat16: 3e-2}
CONFIG = ModelConfig(
    vocab_size=64, hidden_size=32, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=16, intermediate_size=48, has_qk_norm=True
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Check:
    """A name, the relative error on a device in a precision, and how large it may be."""

    name: str
    error: Callable[[torch.device, torch.dtype], float]
    limits: Mapping[torch.dtype, float] = field(default_factory=lambda: LIMITS)


def relative_error(found: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """The largest norm of a difference over the norm of what is exact; infinite if anything is not finite."""
    pairs = [(one.detach().double().cpu(), other.detach()) for one, other in zip(found, exact, strict=True)]
    error = max(float((one - other).norm() / other.norm()) for one, other in pairs)
    return error if error == error else float("inf")


def product(device: torch.device, dtype: torch.dtype) -> float:
    """A matrix product over 1,024 terms."""
    return _compare(lambda a, b: a @ b.T, lambda a, b: a @ b.T, _inputs(device, dtype, (256, 1024), (256, 1024)))


def norms(device: torch.device, dtype: torch.dtype) -> float:
    """RMSNorm and LayerNorm with their gradients."""

    def ours(kind: str) -> Callable[..., Tensor]:
        return transformer.Norm(96, kind, 1e-5).to(device)

    def plainly(x: Tensor, centre: bool) -> Tensor:
        x = x - x.mean(-1, keepdim=True) if centre else x
        return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()

    inputs = _inputs(device, dtype, (8, 96))
    errors = [_compare(ours("rms"), lambda x: plainly(x, False), inputs), _compare(ours("layer"), lambda x: plainly(x, True), inputs)]
    return max(errors)


def attention(device: torch.device, dtype: torch.dtype) -> float:
    """Attention and its gradients, short and long, causal and in packed rows, through every path that this device takes."""
    errors = []
    for length in (24, 300):  # written out, and fused
        inputs = _inputs(device, dtype, *[(2, 2, length, 16)] * 3)
        sequence_BL = (torch.arange(length) >= length // 3).long().expand(2, -1)
        packed = transformer.block_diagonal(sequence_BL)
        masks: list[tuple[transformer.Mask, Tensor]] = [
            (None, torch.ones(length, length, dtype=torch.bool).tril()),
            (packed.to(device), packed),
        ]
        if kernels.why_masks(device, dtype) is None:
            masks.append((kernels.Documents(kernels.document_starts(sequence_BL).to(device), length), packed))
        for mask, seen in masks:
            with kernels.preferred_attention(device):
                errors.append(_compare(lambda q, k, v, mask=mask: transformer.attend(q, k, v, mask), _attention_of(seen), inputs))
    return max(errors)


def head(device: torch.device, dtype: torch.dtype) -> float:
    """Log-probs and entropies of the chunked head, and the gradients of states and weights."""
    tokens_BL = torch.from_numpy(np.random.default_rng(1).integers(0, 96, (2, 400)))
    scored_P = torch.arange(1, 799, 1)

    def ours(hidden_BLD: Tensor, weight_VD: Tensor) -> Tensor:
        there = (tokens_BL.to(device), scored_P.to(device))
        return torch.stack(heads.token_logprobs(hidden_BLD, weight_VD, *there, with_entropy=True))

    def plainly(hidden_BLD: Tensor, weight_VD: Tensor) -> Tensor:
        log_p = (hidden_BLD.flatten(0, 1)[scored_P - 1] @ weight_VD.T).log_softmax(-1)
        both = log_p.gather(1, tokens_BL.flatten()[scored_P, None])[:, 0], -(log_p.exp() * log_p).sum(-1)
        return torch.stack([torch.zeros(800, dtype=torch.float64).index_copy(0, scored_P, one) for one in both]).view(2, 2, 400)

    return _compare(ours, plainly, _inputs(device, dtype, (2, 400, 48), (96, 48)))


def adamw(device: torch.device, _: torch.dtype) -> float:
    """Three steps of AdamW, whose state is in fp32 in every precision."""
    weight, *slopes = _inputs(device, torch.float32, *[(16, 24)] * 4)
    module = nn.ParameterDict({"weight": nn.Parameter(weight.clone())})
    [optimizer] = AdamW(lr=0.1, weight_decay=0.1)(module)
    exact, first, second = weight.double().cpu(), torch.zeros(16, 24).double(), torch.zeros(16, 24).double()
    for step, slope in enumerate(slopes, start=1):
        module["weight"].grad = slope.clone()
        optimizer.step()
        slope = slope.double().cpu()
        first, second = 0.9 * first + 0.1 * slope, 0.95 * second + 0.05 * slope**2
        exact = 0.99 * exact - 0.1 * (first / (1 - 0.9**step)) / ((second / (1 - 0.95**step)).sqrt() + 1e-8)
    return relative_error([module["weight"]], [exact])


def muon(device: torch.device, dtype: torch.dtype) -> float:
    """One step of Muon, the polynomials applied to the singular values in the reference."""
    weight, slope = _inputs(device, torch.float32, (32, 48), (32, 48))
    parameter = nn.Parameter(weight.clone())
    parameter.grad = slope.clone()
    Muon([parameter], lr=1.0, momentum=0.0, dtype=dtype).step()
    left, values, right = torch.linalg.svd(slope.double().cpu(), full_matrices=False)
    values = values / (values.norm() * 1.02 + 1e-6)
    for a, b, c in POLAR_EXPRESS:
        values = a * values + b * values**3 + c * values**5
    return relative_error([weight - parameter], [left @ torch.diag(values) @ right])


def model(device: torch.device, dtype: torch.dtype) -> float:
    """Loss and gradients of a whole small model on packed rows."""
    found, exact = random_pair(dtype)
    batches = packed_batches()
    with kernels.preferred_attention(device):
        return relative_error(loss_and_gradients(found.to(device), batches), loss_and_gradients(exact, batches))


def sampling(device: torch.device, dtype: torch.dtype) -> float:
    """Logits of two rows over a cache, a prompt and then one token a step as a sampler reads them on this device."""
    found, exact = random_pair(dtype)
    trunk = CastCopy(found.to(device).trunk).trunk
    tokens_BL = torch.from_numpy(np.random.default_rng(2).integers(0, CONFIG.vocab_size, (2, 40)))
    position_BL, prompt = torch.arange(40).expand(2, -1), slice(0, 30)
    cache = Cache(CONFIG, 2, 64, dtype, device)
    step = NextTokens(trunk, cache, 2, 64)
    with torch.no_grad():
        there = position_BL[:, prompt].to(device)
        logits = [trunk.logits(trunk(tokens_BL[:, prompt].to(device), there, cache.move_to(there), cache))[:, -1]]
        logits += [step([0, 1], tokens_BL[:, at].tolist(), [at, at]).clone() for at in range(30, 40)]
        return relative_error([torch.stack(logits, dim=1)], [exact.trunk.logits(exact.trunk(tokens_BL, position_BL))[:, 29:]])


def random_pair(dtype: torch.dtype) -> tuple[Model, Model]:
    """A small model that computes in dtype, and the same in float64."""
    found, exact = Model(CONFIG, compute_dtype=dtype), Model(CONFIG, compute_dtype=torch.float64).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter, wide in zip(found.parameters(), exact.parameters(), strict=True):
            parameter.normal_(std=0.3, generator=generator)
            wide.copy_(parameter)
    return found, exact


def packed_batches() -> list[Batch]:
    """Four sequences in two rows."""
    draw = np.random.default_rng(1)
    return pack([(example(draw.integers(0, 64, size)),) for size in (9, 20, 13, 7)], rows=2, length=32)


# Those of the native kernels are in selftest_native.py
CHECKS: list[Check] = [
    Check("product", product),
    Check("norms", norms),
    Check("attention", attention),
    Check("head", head),
    Check("AdamW", adamw, dict.fromkeys(LIMITS, 1e-5)),  # in fp32 always
    Check("Muon", muon, {torch.float32: 1e-3, torch.bfloat16: 1e-1}),  # its polynomials magnify small singular values, and so their errors
    Check("model", model, {torch.float32: 1e-4, torch.bfloat16: 6e-2}),
    Check("sampling", sampling),
]


def _inputs(device: torch.device, dtype: torch.dtype, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).to(device) for shape in shapes]


def _compare(ours: Callable[..., Tensor], plainly: Callable[..., Tensor], inputs: Sequence[Tensor]) -> float:
    """Error of a function and of its gradients, for a loss that weighs every output differently."""
    return relative_error(_with_gradients(ours, inputs), _with_gradients(plainly, [one.double().cpu() for one in inputs]))


def _with_gradients(function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    leaves = [one.clone().requires_grad_() for one in inputs]
    out = function(*leaves)
    weights = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view_as(out).to(out.dtype).to(out.device)
    (out * weights).sum().backward()
    return [out, *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def _attention_of(seen: Tensor) -> Callable[..., Tensor]:
    def plainly(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scores = (query @ key.mT / query.shape[-1] ** 0.5).masked_fill(~seen, float("-inf"))
        return scores.softmax(-1) @ value

    return plainly


def loss_and_gradients(network: Model, batches: Sequence[Batch]) -> list[Tensor]:
    """Cross-entropy of the batches, and its gradient by every parameter that has one."""
    counts, total = Counts.of(batches), torch.zeros((), device=network.device)
    module = Loss(network, CrossEntropy())
    for batch in batches:
        loss, _ = module(batch.to(network.device), counts)
        loss.backward()
        total = total + loss
    return [total, *(parameter.grad for parameter in network.parameters() if parameter.grad is not None)]
