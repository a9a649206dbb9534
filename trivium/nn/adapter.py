"""Adapters on the linear layers of a model whose own weights stay as they are. Options are in lora.py, files in io/peft.py.

A and B are kept in fp32 and used in the precision of the input, like every other weight. Layers that a family stores as rows of
one matrix (query, key and value of GPT-NeoX and GPT-2) share their A, so that what is trained here is exactly an adapter of
that matrix, as PEFT knows it. Left out: adapters on embeddings and heads.
"""

import copy
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
import xxhash
from torch import Tensor, nn

from trivium.core.errors import ConfigError
from trivium.core.seeds import key
from trivium.nn.io.config_json import GUEST
from trivium.nn.io.layout import Stored, layout
from trivium.nn.lora import LoRA
from trivium.nn.model import Model
from trivium.nn.promised import is_hollow
from trivium.nn.transformer import Linear

A_LEAF, B_LEAF = ".lora_A", ".lora_B"  # how the names of trained tensors end


class AdaptedLinear(nn.Module):
    """W x + b + scale * B A x: the base is frozen, A (r, in) and B (out, r) are trained. B starts as zeros, so nothing changes at first."""

    def __init__(self, base: "Linear | Int8Linear", lora_A: nn.Parameter, scale: float) -> None:
        super().__init__()
        self.base, self.scale, self.lora_A = base, scale, lora_A
        self.lora_B = nn.Parameter(torch.zeros(base.weight.shape[0], lora_A.shape[0], device=lora_A.device))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name that nn.Linear gives it)
        """Apply it to the last dimension; the precision of input is kept."""
        return self.base(input) + self.low_rank(input)

    def low_rank(self, input: Tensor) -> Tensor:  # noqa: A002
        """What the adapter adds."""
        return self.scale * F.linear(F.linear(input, self.lora_A.to(input.dtype)), self.lora_B.to(input.dtype))


class Int8Linear(nn.Module):
    """A frozen linear layer in 8 bits: each row of W is a whole number from -127 to 127 times the row's scale, which is fp32."""

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-30) / 127
        self.weight = nn.Parameter((weight / scale).round().to(torch.int8), requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)
        self.register_parameter("bias", linear.bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Apply it to the last dimension; the precision of input is kept."""
        product = _Int8Product.apply(input, self.weight, self.scale)
        return product if self.bias is None else product + self.bias.to(input.dtype)


class _Int8Product(torch.autograd.Function):
    """x W^T with W = whole numbers * scale. W exists in full only inside a call: autograd would keep it for every layer."""

    @staticmethod
    def forward(ctx, x: Tensor, whole: Tensor, scale: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(whole, scale)
        return F.linear(x, (whole * scale).to(x.dtype))

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[override]  # noqa: ANN205
        whole, scale = ctx.saved_tensors
        return grad @ (whole * scale).to(grad.dtype), None, None


def effective_weight(linear: nn.Module) -> Tensor:
    """The one matrix (out, in) that a linear layer multiplies by, its adapter included; fp32 where it has one."""
    if isinstance(linear, AdaptedLinear):
        return effective_weight(linear.base) + linear.scale * (linear.lora_B @ linear.lora_A)
    if isinstance(linear, Int8Linear):
        return linear.weight * linear.scale
    return linear.get_parameter("weight")


def bias_of(linear: nn.Module) -> Tensor | None:
    """The bias of a linear layer, adapted or not."""
    base = linear.base if isinstance(linear, AdaptedLinear) else linear
    return base._parameters["bias"]


def adapt(model: Model, lora: LoRA, seed: int) -> None:
    """Freeze a model and put an adapter on its linear layers, in place; a scalar head stays trainable.

    The same bits come out as before, unless the base is rounded to int8. Raises ConfigError if the family lacks all targets, or
    stores one in the same matrix with a layer that is none.
    """
    groups = []
    for names in linear_groups(model):
        chosen = [name.rsplit(".", 1)[1] in lora.targets for name in names]
        if any(chosen) != all(chosen):
            leaves = ", ".join(name.rsplit(".", 1)[1] for name in names)
            raise ConfigError(f"lora.targets: {model.config.family} stores {leaves} as one matrix; name all of them, or none")
        groups += [names] * all(chosen)
    if not groups:
        raise ConfigError(f"lora.targets: {model.config.family} has no layer called {' or '.join(lora.targets)}")
    attach(model, groups, r=lora.r, scale=lora.alpha / lora.r, seed=seed, is_int8=lora.base == "int8")


def attach(model: Model, groups: Sequence[Sequence[str]], *, r: int, scale: float, seed: int, is_int8: bool = False) -> None:
    """Freeze a model and put an adapter on each named layer, in place; layers of a group share their A.

    A is uniform within 1 / sqrt(in), as in PEFT: the bound of Kaiming's initialisation with a = sqrt(5).
    """
    model.gather()
    model.base_fingerprint = fingerprint(model)
    model.trunk.requires_grad_(False)
    for names in groups:
        weight = model.get_parameter(f"{names[0]}.weight")
        generator = torch.Generator().manual_seed(key(seed, "lora", *map(ord, names[0])) >> 1)
        bound = weight.shape[1] ** -0.5
        lora_A = nn.Parameter(torch.empty(r, weight.shape[1]).uniform_(-bound, bound, generator=generator).to(weight.device))
        for name in names:
            linear = model.get_submodule(name)
            if not isinstance(linear, Linear):
                raise RuntimeError(f"{name} has an adapter already")
            model.set_submodule(name, AdaptedLinear(Int8Linear(linear) if is_int8 else linear, lora_A, scale))


def merge(model: Model) -> None:
    """Add every adapter to the weights below it, in place: a plain model that can be saved and trained like any other."""
    for name, linear in _adapted(model):
        weight = effective_weight(linear).detach()
        merged = Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        merged.weight, merged.bias = nn.Parameter(weight), linear.base.bias
        model.set_submodule(name, merged)
    model.requires_grad_(True)
    model.base_fingerprint = None


def frozen_reference(model: Model, *, is_later: bool = False) -> Model:
    """The model to compare with while this one is trained: what is frozen is shared, what will be trained is copied, adapters are off.

    Taken before training, it is the starting model, whether that is trained in full or through an adapter; with one, the
    reference costs no memory but that of a scalar head. is_later: weights that were promised (nn/promised.py) stay so.
    """
    shared = {id(parameter): parameter for parameter in model.parameters() if not parameter.requires_grad}
    # what holds one number would be copied as all of them
    shared |= {id(weight): nn.Parameter(weight.detach()) for weight in model.parameters() if weight.requires_grad and is_hollow(weight)}
    reference = copy.deepcopy(model, shared)
    for name, linear in _adapted(reference):
        reference.set_submodule(name, linear.base)
    if not is_later:
        reference.gather()
    return reference.requires_grad_(False)


def linear_groups(model: Model) -> list[list[str]]:
    """The linear layers of the blocks by name; those that the family stores as one matrix stand together."""
    return [linears_of(stored) for stored in plain_layout(model).values() if linears_of(stored)]


def plain_layout(model: Model) -> dict[str, Stored]:
    """Name in a model file -> what is stored there, of the model without its adapters. Raises ConfigError for a guest."""
    if model.config.family == GUEST:
        raise ConfigError("a guest has no adapters: transformers runs it, so its layers are not ours; train it in full, without lora")
    with torch.device("meta"):
        return layout(Model(model.config, has_scalar=model.scalar_head is not None))


def linears_of(stored: Stored) -> list[str]:
    """The linear layers of a block whose weights a stored tensor holds; none if it holds something else."""
    is_matrix = all(name.endswith(".weight") and ".blocks." in name and len(shape) == 2 for name, shape in stored.ours.items())
    return [name.removesuffix(".weight") for name in stored.ours] if is_matrix else []


def fingerprint(model: Model) -> str:
    """xxh3-128 of the trunk's weights: which base an adapter belongs to. About 9 GB/s."""
    digest = xxhash.xxh3_128()
    for name, parameter in model.trunk.named_parameters():
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _adapted(model: Model) -> Iterator[tuple[str, AdaptedLinear]]:
    yield from [(name, module) for name, module in model.named_modules() if isinstance(module, AdaptedLinear)]
