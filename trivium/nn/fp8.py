"""Products in 8-bit floats, for pre-training wide models on GPUs of compute capability 8.9 and above.

Micikevicius et al. 2022, arXiv:2209.05433: factors in e4m3, slopes in e5m2, sums in higher precision. Each tensor is scaled by its
own largest value of now, so there is no history to keep. Only inside the blocks, and only while gradients are kept, so what is
measured is what is saved; weights, optimizer and checkpoints do not change.

It pays for wide models under the compiler only: nanochat measured 17 % more tokens a second at depth 26 (width 1,664), less than
bf16 at depth 12, and a quarter of its speed uncompiled. Left out: scales for each row, which gain less and cost more; a head in fp8.
"""

from typing import Any

import torch
from torch import Tensor

from trivium.core.errors import ConfigError
from trivium.nn.config import ModelConfig
from trivium.nn.transformer import Linear, Transformer, cast_product

FACTOR, SLOPE = torch.float8_e4m3fn, torch.float8_e5m2
MULTIPLE = 16  # of every size of a product in torch._scaled_mm


def why_not_fp8(device: torch.device) -> str | None:
    """Why there are no such products on a device, in a few words; None if there are."""
    if device.type != "cuda" or torch.version.hip is not None:
        return f"they are for NVIDIA GPUs, not for {'ROCm' if device.type == 'cuda' else device.type}"
    capability = torch.cuda.get_device_capability(device)
    if capability < (8, 9):
        return f"they need compute capability 8.9, and this GPU has {capability[0]}.{capability[1]}"
    return None


def use(trunk: Transformer, seq_len: int) -> None:
    """Multiply in 8 bits in the blocks from now on, while gradients are kept; rows of a batch have seq_len positions.

    Raises ConfigError if a size is no multiple of 16.
    """
    sizes = {"seq_len": seq_len, **_widths(trunk.config)}
    for name, size in sizes.items():
        if size % MULTIPLE:
            raise ConfigError(
                f"{name} is {size:,}, and products in fp8 need multiples of {MULTIPLE}; change it, or set machine.products=full"
            )
    for module in trunk.blocks.modules():
        if isinstance(module, Linear):
            module.multiply = product


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + bias over the last dimension, in the precision of x; without gradients not in 8 bits."""
    if not torch.is_grad_enabled():
        return cast_product(x, weight, bias)
    y = _Product.apply(x.flatten(0, -2), weight).unflatten(0, x.shape[:-1])
    return y if bias is None else y + bias.to(y.dtype)


class _Product(torch.autograd.Function):
    """y = x W^T, (M, K) and (N, K) to (M, N). What the backward pass needs is kept in 8 bits."""

    @staticmethod
    def forward(ctx: Any, x_MK: Tensor, weight_NK: Tensor) -> Tensor:
        x, weight = _rounded(x_MK, FACTOR), _rounded(weight_NK, FACTOR)
        ctx.save_for_backward(*x, *weight)
        ctx.weight_dtype = weight_NK.dtype
        return _multiplied(*x, weight[0].T, weight[1], x_MK.dtype, is_fast=True)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor]:
        x, x_scale, weight, weight_scale = ctx.saved_tensors
        [slope] = slopes
        rounded, scale = _rounded(slope, SLOPE)
        by_x = _multiplied(rounded, scale, _by_columns(weight), weight_scale, slope.dtype, is_fast=False)
        by_weight = _multiplied(rounded.T.contiguous(), scale, _by_columns(x), x_scale, ctx.weight_dtype, is_fast=False)
        return by_x, by_weight


def _widths(config: ModelConfig) -> dict[str, int]:
    heads = {"num_heads x head_dim": config.num_heads, "num_kv_heads x head_dim": config.num_kv_heads}
    widths = {"hidden_size": config.hidden_size, "intermediate_size": config.intermediate_size}
    return widths | {name: number * config.head_dim for name, number in heads.items()}


def _rounded(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """x over its scale in 8 bits, and the scale, () fp32. What is not finite stays so: its scale is infinite or no number."""
    most = torch.finfo(dtype).max
    scale = x.abs().amax().float().clamp(min=1e-12) / most
    return (x.float() / scale).clamp(-most, most).to(dtype), scale


def _by_columns(x: Tensor) -> Tensor:
    """The same matrix, laid out column after column, as the second factor must be."""
    return x.T.contiguous().T


def _multiplied(a: Tensor, a_scale: Tensor, b: Tensor, b_scale: Tensor, dtype: torch.dtype, *, is_fast: bool) -> Tensor:
    """a b in dtype. is_fast: sums may lose some bits, which forward passes bear and slopes do not (torchao's defaults)."""
    return torch._scaled_mm(a, b, scale_a=a_scale, scale_b=b_scale, out_dtype=dtype, use_fast_accum=is_fast)
