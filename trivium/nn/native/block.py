"""A block of the transformer out of the parts in training.py: the twin of `transformer.Block.forward` on a CPU.

States are float32 whatever the products are computed in, which by themselves are computed in the trunk's `compute_dtype`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from trivium.nn.adapter import AdaptedLinear, Int8Linear, bias_of, effective_weight
from trivium.nn.kernels import Sight
from trivium.nn.native import training
from trivium.nn.native.library import why_not
from trivium.nn.native.packed import MULTIPLE
from trivium.nn.native.training import Products
from trivium.nn.noise import Dropout, dropped
from trivium.nn.transformer import Block, Norm, Transformer

PLAIN: dict[torch.dtype, Products] = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


def why_not_train(trunk: Transformer) -> str | None:
    """None if the kernels can train this model, else the reason in one line."""
    if not isinstance(trunk, Transformer):
        return "a guest is run by transformers"
    config = trunk.config
    sizes = {"hidden_size": config.hidden_size, "intermediate_size": config.intermediate_size, "head_dim": config.head_dim}
    for name, size in sizes.items():
        if size % MULTIPLE:
            return f"{name} ({size}) is no multiple of {MULTIPLE}"
    if config.attention_softcap is not None or (config.has_qk_norm and (config.qk_norm_over == "width" or config.norm == "layer")):
        return f"attention of {config.family} has no kernel for its slopes"
    if any(isinstance(module, Int8Linear) for module in trunk.modules()):
        return "a base that is kept in int8 has no kernel"
    if trunk.compute_dtype not in PLAIN or trunk.embed.weight.device.type != "cpu":
        return f"they are for float32 and bfloat16 on a CPU, not {trunk.compute_dtype} on {trunk.embed.weight.device.type}"
    return why_not()


def use(trunk: Transformer, how: Products | None = None) -> str | None:
    """Compute the blocks here from now on, except over a cache, or not any more; returns the reason if not, else None.

    how: the products while gradients are kept; None, and without them always, as the trunk computes, so what is measured is what is saved.
    """
    reason = why_not_train(trunk)
    trunk.twin = partial(blocks, how=how or PLAIN[trunk.compute_dtype]) if reason is None else None
    return reason


def blocks(
    trunk: Transformer, x_BLD: Tensor, position_BL: Tensor, added: Sequence[Tensor | None], sight: Sight | None,
    dropout: Dropout | None = None, *, how: Products,
) -> Tensor:  # fmt: skip
    """The stream after all blocks, (B, L, D). added: to the values of each layer, (B, L, KV * D). sight: see Places."""
    how = how if torch.is_grad_enabled() else PLAIN[trunk.compute_dtype]
    places = {window: Places.of(position_BL, window, sight) for window in {layer.window for layer in trunk.layers}}
    first_BLD = x_BLD
    for number, layer in enumerate(trunk.layers):
        entering = trunk.entering(number, x_BLD, first_BLD)
        x_BLD = forward(trunk, number, entering, added[number], places=places[layer.window], how=how, dropout=dropout)
    return x_BLD


@dataclass(frozen=True, slots=True)
class Places:
    """Where the tokens of a batch stand, and who sees whom. position_BL: int32."""

    position_BL: Tensor
    sight: Sight

    @staticmethod
    def of(position_BL: Tensor, window: int | None, sight: Sight | None = None) -> "Places":
        """Without `sight` positions restart with every sequence of a row, so a sequence began where position 0 was."""
        here = torch.arange(position_BL.shape[1], dtype=torch.int32)
        position_BL = position_BL.to(torch.int32).contiguous()
        if sight is None:
            nothing_BL = torch.zeros_like(position_BL)
            sight = Sight((here - position_BL).clamp(min=0), nothing_BL, nothing_BL)
        if window is not None:
            sight = sight._replace(start_BL=torch.maximum(sight.start_BL, here - window + 1))
        return Places(position_BL, sight)


def forward(
    trunk: Transformer, number: int, x_BLD: Tensor, added_BLE: Tensor | None, *, places: Places, how: Products, dropout: Dropout | None,
) -> Tensor:  # fmt: skip
    """The stream after a block, (B, L, D). added_BLE: to its values, (B, L, KV * D), or nothing."""
    config, block, rope = trunk.config, cast(Block, trunk.blocks[number]), trunk.rope_table(trunk.layers[number].rope)
    attention, mlp = block.attention, block.mlp
    joint = _products(_norm(block.attention_norm, x_BLD), [attention.query, attention.key, attention.value], how, may_be_half=True)
    norms = [None if norm is None else norm.scale() for norm in (attention.query_norm, attention.key_norm)]
    shape = (config.num_heads, config.num_kv_heads, config.head_dim)
    query, key, value = training.heads(joint, (norms[0], norms[1]), rope, places.position_BL, shape, config.norm_eps)
    if added_BLE is not None:
        value = (value + added_BLE.unflatten(-1, (config.num_kv_heads, -1)).transpose(1, 2)).contiguous()
    scale = (config.query_pre_attn_scalar or config.head_dim) ** -0.5
    mixed = training.attend(query, key, value, places.sight, scale).flatten(2)
    seen = _norm(block.attention_post_norm, _products(mixed, [attention.out], how))
    after = x_BLD + dropped(seen, dropout, 2 * number)
    inner = _norm(block.mlp_norm, x_BLD if block.is_parallel else after)
    if mlp.gate is None:
        up = _products(inner, [mlp.up], how)
        found = _products(training.squared_relu(up) if config.activation == "relu2" else mlp.activation(up), [mlp.down], how)
    elif how == "bfloat16" and all(_is_plain(linear) for linear in (mlp.gate, mlp.up, mlp.down)):
        gate, up, down = (effective_weight(linear) for linear in (mlp.gate, mlp.up, mlp.down))
        found = training.gated_mlp(inner.flatten(0, -2), gate, up, down, config.activation).view_as(inner)
    else:
        found = _products(training.gated(_products(inner, [mlp.gate, mlp.up], how), config.activation), [mlp.down], how)
    return after + dropped(_norm(block.mlp_post_norm, found), dropout, 2 * number + 1)


def _is_plain(linear: nn.Module) -> bool:
    return not isinstance(linear, AdaptedLinear) and bias_of(linear) is None


def _products(x: Tensor, linears: Sequence[nn.Module], how: Products, *, may_be_half: bool = False) -> Tensor:
    """All of x's products at once, over the last dimension; what adapters add comes on top."""
    flat = x.flatten(0, -2)
    bases = [linear.base if isinstance(linear, AdaptedLinear) else linear for linear in linears]
    biases = [bias for bias in map(bias_of, linears) if bias is not None]
    y = training.products(
        flat, [effective_weight(base) for base in bases], torch.cat(biases) if biases else None, how, may_be_half=may_be_half
    )
    if any(isinstance(linear, AdaptedLinear) for linear in linears):
        y = y + torch.cat([_added(linear, base, flat) for linear, base in zip(linears, bases, strict=True)], dim=-1)
    return y.unflatten(0, x.shape[:-1])


def _added(linear: nn.Module, base: nn.Module, x: Tensor) -> Tensor:
    return linear.low_rank(x) if isinstance(linear, AdaptedLinear) else x.new_zeros(len(x), len(base.get_parameter("weight")))


def _norm(norm: nn.Module, x: Tensor) -> Tensor:
    if not isinstance(norm, Norm) or norm.bias is not None:
        return norm(x)
    return training.rms_norm(x, norm.scale(), norm.eps)
