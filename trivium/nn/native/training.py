"""The parts of a training step in C++, with their slopes: products of several matrices at once, norms, heads, attention, gates.

float32 in and out, on the CPU. `precision` says how products are computed: float32, bfloat16, or int8 (see `_Int8Products`).
"""

from collections.abc import Sequence
from ctypes import Structure, byref, c_float, c_int32, c_int64, c_void_p
from typing import Any, Literal

import torch
from torch import Tensor

from trivium.nn.kernels import Sight
from trivium.nn.native.library import loaded

Products = Literal["float32", "bfloat16", "int8"]
ACTIVATIONS = {"silu": 0, "gelu": 1, "gelu_tanh": 2, "relu2": 3}


def _at(x: Tensor | None) -> c_void_p | None:
    return None if x is None else c_void_p(x.data_ptr())


class _Products(torch.autograd.Function):
    """x W^T for several W that read the same x, side by side: one product instead of several."""

    @staticmethod
    def forward(ctx: Any, x_ME: Tensor, bias: Tensor | None, *weights: Tensor) -> Tensor:
        weight = weights[0] if len(weights) == 1 else torch.cat(weights)
        ctx.sizes, ctx.has_bias = [len(part) for part in weights], bias is not None
        ctx.save_for_backward(x_ME, *weights)  # joined again when needed: a joined copy of every layer would be kept
        return torch.nn.functional.linear(x_ME, weight, bias)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        x_ME, *weights = ctx.saved_tensors
        [slope] = slopes
        by_x = slope @ torch.cat(weights) if ctx.needs_input_grad[0] else None
        by_weight = slope.T @ x_ME if any(ctx.needs_input_grad[2:]) else None
        parts = [None] * len(ctx.sizes) if by_weight is None else by_weight.split(ctx.sizes)
        return by_x, slope.sum(0) if ctx.has_bias else None, *parts


class _Bfloat16Products(torch.autograd.Function):
    """The same with every factor rounded to bfloat16, and sums in float32 rounded once, as under torch's autocast."""

    @staticmethod
    def forward(ctx: Any, x_ME: Tensor, bias: Tensor | None, *weights: Tensor) -> Tensor:
        y = _HalfProducts.forward(ctx, x_ME, bias, *weights).float()
        return y if bias is None else y.add_(bias)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        return _HalfProducts.backward(ctx, *slopes)


class _HalfProducts(torch.autograd.Function):
    """The same, given in bfloat16 to a reader that widens it itself; without the bias."""

    @staticmethod
    def forward(ctx: Any, x_ME: Tensor, bias: Tensor | None, *weights: Tensor) -> Tensor:
        x = x_ME.bfloat16()
        ctx.sizes, ctx.has_bias = [len(part) for part in weights], bias is not None
        ctx.save_for_backward(x, *weights)
        return torch.nn.functional.linear(x, _halved(weights))

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        slope = slopes[0].bfloat16()
        by_x = (slope @ _halved(weights)).float() if ctx.needs_input_grad[0] else None
        by_weight = (slope.T @ x).float() if any(ctx.needs_input_grad[2:]) else None
        parts = [None] * len(ctx.sizes) if by_weight is None else by_weight.split(ctx.sizes)
        return by_x, slopes[0].sum(0) if ctx.has_bias else None, *parts


def _halved(weights: Sequence[Tensor]) -> Tensor:
    """Side by side in bfloat16, each rounded into its place: casts that are joined afterwards would be written twice."""
    joint = weights[0].new_empty((sum(map(len, weights)), *weights[0].shape[1:]), dtype=torch.bfloat16)
    for part, weight in zip(joint.split([len(weight) for weight in weights]), weights, strict=True):
        part.copy_(weight)
    return joint


class _Int8Products(torch.autograd.Function):
    """The same with every factor rounded to 8 bits, sums exact: rows and columns are scaled by their largest value.

    y = x W^T takes rows of x and W, the slope by x rows of the slope by y and columns of W, the slope by W columns of both.
    Wortsman et al. 2023, arXiv:2304.13013 (SwitchBack) leave the last one in 16 bits and scale W as a whole; with scales for each
    column of a micro-batch no difference in loss was seen (LOG.md).
    """

    @staticmethod
    def forward(ctx: Any, x_ME: Tensor, bias: Tensor | None, *weights: Tensor) -> Tensor:
        weight = weights[0] if len(weights) == 1 else torch.cat(weights)
        ctx.sizes, ctx.has_bias = [len(part) for part in weights], bias is not None
        columns = _bytes_of_columns(x_ME) if any(ctx.needs_input_grad[2:]) else (None, None)
        ctx.save_for_backward(*columns, *weights)
        y = _in_bytes(*_bytes_of_rows(x_ME), *_bytes_of_rows(weight))
        return y if bias is None else y.add_(bias)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        x_EM, scale_E, *weights = ctx.saved_tensors
        slope = slopes[0].contiguous()
        by_x = _in_bytes(*_bytes_of_rows(slope), *_bytes_of_columns(torch.cat(weights))) if ctx.needs_input_grad[0] else None
        by_weight = None if x_EM is None else _in_bytes(*_bytes_of_columns(slope), x_EM, scale_E)
        parts = [None] * len(ctx.sizes) if by_weight is None else by_weight.split(ctx.sizes)
        return by_x, slope.sum(0) if ctx.has_bias else None, *parts


def products(x_ME: Tensor, weights: Sequence[Tensor], bias: Tensor | None, precision: Products, *, may_be_half: bool = False) -> Tensor:
    """x W^T + bias for several W, (M, sum of their rows). In int8 all sizes of a W are multiples of 16.

    may_be_half: the reader takes bfloat16 too, so that products which are rounded to it anyway need not be widened.
    """
    if may_be_half and precision == "bfloat16" and bias is None:
        return _HalfProducts.apply(x_ME, None, *weights)
    if precision == "int8" and any(size % 16 for weight in weights for size in weight.shape):
        raise ValueError(f"products in int8 need multiples of 16, not {[tuple(weight.shape) for weight in weights]}")
    return _PRODUCTS[precision].apply(x_ME, bias, *weights)


_PRODUCTS: dict[Products, type[torch.autograd.Function]] = {
    "float32": _Products, "bfloat16": _Bfloat16Products, "int8": _Int8Products,
}  # fmt: skip


def _bytes_of_rows(x_MN: Tensor) -> tuple[Tensor, Tensor]:
    """int8 of the same shape, and the scale of each row."""
    x = x_MN.contiguous()
    whole, scale = torch.empty(x.shape, dtype=torch.int8), torch.empty(len(x))
    loaded().trivium_bytes_of_rows(_at(x), c_int64(len(x)), x.shape[1], _at(whole), _at(scale))
    return whole, scale


def _bytes_of_columns(x_MN: Tensor) -> tuple[Tensor, Tensor]:
    """int8 of the transpose, and the scale of each of its rows."""
    x = x_MN.contiguous()
    whole, scale = torch.empty(x.shape[1], x.shape[0], dtype=torch.int8), torch.empty(x.shape[1])
    loaded().trivium_bytes_of_columns(_at(x), c_int64(len(x)), x.shape[1], torch.get_num_threads(), _at(whole), _at(scale))
    return whole, scale


def _in_bytes(a_MK: Tensor, of_row: Tensor, b_NK: Tensor, of_column: Tensor) -> Tensor:
    """a b^T in int8 with exact sums, scaled back to float32; (M, N)."""
    sums = torch._int_mm(a_MK, b_NK.T)
    y = torch.empty(sums.shape)
    loaded().trivium_from_bytes(_at(sums), c_int64(len(y)), y.shape[1], _at(of_row), _at(of_column), _at(y))
    return y


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        x, y = x.contiguous(), torch.empty_like(x)
        loaded().trivium_norm(_at(x), _at(weight), c_int64(x.numel() // len(weight)), len(weight), c_float(eps), _at(y))
        ctx.save_for_backward(x, weight)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        slope, by_x, by_weight = slopes[0].contiguous(), torch.empty_like(x), torch.empty_like(weight)
        rows = c_int64(x.numel() // len(weight))
        loaded().trivium_norm_backward(
            _at(x), _at(weight), _at(slope), rows, len(weight), c_float(ctx.eps), torch.get_num_threads(), _at(by_x), _at(by_weight)
        )
        return by_x, by_weight, None


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / rms(x) * weight over the last dimension."""
    return _RMSNorm.apply(x, weight, eps)


class _Turn(Structure):
    _fields_ = (
        [(name, c_void_p) for name in ("query_norm", "key_norm", "cosine", "sine", "position")]
        + [(name, c_int32) for name in ("batch", "length", "heads", "kv_heads", "dim", "rotated")]
        + [("eps", c_float)]
    )


class _Heads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, joint: Tensor, query_norm: Tensor | None, key_norm: Tensor | None, rope: tuple[Tensor, Tensor] | None,
        position: Tensor, shape: tuple[int, int, int], eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        ctx.shape = heads, kv_heads, dim = shape
        (batch, length), joint = position.shape, joint.contiguous()
        ctx.turn = _Turn(
            *(None if x is None else x.data_ptr() for x in (query_norm, key_norm, *(rope or (None, None)), position)),
            batch, length, heads, kv_heads, dim, 0 if rope is None else 2 * rope[0].shape[1], eps,
        )  # fmt: skip
        ctx.kept = query_norm, key_norm, rope, position  # the structure holds their addresses
        name = "trivium_turn_half" if joint.dtype == torch.bfloat16 else "trivium_turn"
        ctx.backward_name, ctx.dtype = f"{name}_backward", joint.dtype
        ctx.save_for_backward(*([] if query_norm is None and key_norm is None else [joint]))  # a rotation's slope does not depend on it
        query = torch.empty(batch, heads, length, dim)
        key, value = torch.empty(batch, kv_heads, length, dim), torch.empty(batch, kv_heads, length, dim)
        getattr(loaded(), name)(byref(ctx.turn), _at(joint), _at(query), _at(key), _at(value))
        return query, key, value

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        joint = ctx.saved_tensors[0] if ctx.saved_tensors else None
        heads, kv_heads, dim = ctx.shape
        by_joint = torch.empty(ctx.turn.batch, ctx.turn.length, (heads + 2 * kv_heads) * dim, dtype=ctx.dtype)
        by_norms = [None if norm is None else torch.empty_like(norm) for norm in ctx.kept[:2]]
        contiguous = [slope.contiguous() for slope in slopes]
        getattr(loaded(), ctx.backward_name)(
            byref(ctx.turn), _at(joint), *map(_at, contiguous), torch.get_num_threads(), _at(by_joint), *map(_at, by_norms)
        )
        return by_joint, *by_norms, None, None, None, None


def heads(
    joint_BLE: Tensor, norms: tuple[Tensor | None, Tensor | None], rope: tuple[Tensor, Tensor] | None, position_BL: Tensor,
    shape: tuple[int, int, int], eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Query (B, H, L, D), key and value (B, KV, L, D), float32, from their joint product in float32 or bfloat16, normed and rotated.

    shape: H, KV, D; rope: whole tables.
    """
    if rope is not None and int(position_BL.max()) >= len(rope[0]):  # C++ does not look
        raise IndexError(f"position {int(position_BL.max())} of a model that has {len(rope[0])}")
    return _Heads.apply(joint_BLE, *norms, rope, position_BL.to(torch.int32), shape, eps)


class _HeadsOf(Structure):
    _fields_ = (
        [(name, c_void_p) for name in ("query", "key", "value", "start", "skip_from", "skip_to")]
        + [(name, c_int32) for name in ("batch", "heads", "kv_heads", "length", "dim")]
        + [("scale", c_float)]
    )

    @staticmethod
    def of(query: Tensor, key: Tensor, value: Tensor, sight: Sight, scale: float) -> "_HeadsOf":
        batch, heads, length, dim = query.shape
        return _HeadsOf(*(x.data_ptr() for x in (query, key, value, *sight)), batch, heads, key.shape[1], length, dim, scale)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, sight: Sight, scale: float) -> Tensor:
        batch, heads, length, dim = query.shape
        mixed, lse = torch.empty(batch, length, heads, dim), torch.empty(batch, heads, length)
        loaded().trivium_attend(byref(_HeadsOf.of(query, key, value, sight, scale)), _at(mixed), _at(lse))
        ctx.save_for_backward(query, key, value, mixed, lse)
        ctx.sight, ctx.scale = sight, scale
        return mixed

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, mixed, lse = ctx.saved_tensors
        slope, by_inputs = slopes[0].contiguous(), [torch.empty_like(x) for x in (query, key, value)]
        given = _HeadsOf.of(query, key, value, ctx.sight, ctx.scale)
        loaded().trivium_attend_backward(byref(given), _at(mixed), _at(lse), _at(slope), *map(_at, by_inputs))
        return *by_inputs, None, None


def attend(query_BHLD: Tensor, key_BKLD: Tensor, value_BKLD: Tensor, sight: Sight, scale: float) -> Tensor:
    """softmax(Q K^T scale) V where a position sees what `sight` says; (B, L, H, D). Contiguous tensors."""
    return _Attend.apply(query_BHLD, key_BKLD, value_BKLD, sight, scale)


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, both: Tensor, activation: int) -> Tensor:
        both, y = both.contiguous(), torch.empty(*both.shape[:-1], both.shape[-1] // 2)
        loaded().trivium_gated(_at(both), c_int64(y.numel() // y.shape[-1]), y.shape[-1], activation, _at(y))
        ctx.save_for_backward(both)
        ctx.activation = activation
        return y

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        [both] = ctx.saved_tensors
        slope, by_both = slopes[0].contiguous(), torch.empty_like(both)
        width = slope.shape[-1]
        loaded().trivium_gated_backward(_at(both), _at(slope), c_int64(slope.numel() // width), width, ctx.activation, _at(by_both))
        return by_both, None


def gated(both: Tensor, activation: str) -> Tensor:
    """activation(first half) * second half of the last dimension."""
    return _Gated.apply(both, ACTIVATIONS[activation])


class _GatedMLP(torch.autograd.Function):
    """Products and gate at once in bfloat16: the same bits as one after the other, and nothing between them goes through float32."""

    @staticmethod
    def forward(ctx: Any, x_ME: Tensor, gate: Tensor, up: Tensor, down: Tensor, activation: int) -> Tensor:
        x = x_ME.bfloat16()
        both = torch.nn.functional.linear(x, _halved([gate, up]))
        y = both.new_empty(len(x), len(up))
        loaded().trivium_gated_half(_at(both), c_int64(len(y)), len(up), activation, _at(y))
        ctx.save_for_backward(x, both, gate, up, down)
        ctx.activation = activation
        return torch.nn.functional.linear(y, _halved([down])).float()

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        x, both, gate, up, down = ctx.saved_tensors
        slope, by_both = slopes[0].bfloat16(), torch.empty_like(both)
        by_y = slope @ _halved([down])
        y = torch.empty_like(by_y)
        loaded().trivium_gated_half_backward(_at(both), _at(by_y), c_int64(len(y)), len(up), ctx.activation, _at(by_both), _at(y))
        by_x = (by_both @ _halved([gate, up])).float() if ctx.needs_input_grad[0] else None
        if not any(ctx.needs_input_grad[1:4]):
            return by_x, None, None, None, None
        return by_x, *(by_both.T @ x).float().split(len(up)), (slope.T @ y).float(), None


def gated_mlp(x_ME: Tensor, gate: Tensor, up: Tensor, down: Tensor, activation: str) -> Tensor:
    """(activation(x gate^T) * x up^T) down^T with every factor and product rounded to bfloat16, (M, E) float32."""
    return _GatedMLP.apply(x_ME, gate, up, down, ACTIVATIONS[activation])


class _SquaredRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x, y = x.contiguous(), torch.empty(x.shape)
        loaded().trivium_squared_relu(_at(x), None, c_int64(x.numel()), _at(y))
        ctx.save_for_backward(x)
        return y

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        [x] = ctx.saved_tensors
        slope, by_x = slopes[0].contiguous(), torch.empty_like(x)
        loaded().trivium_squared_relu(_at(x), _at(slope), c_int64(x.numel()), _at(by_x))
        return by_x


def squared_relu(x: Tensor) -> Tensor:
    """relu(x)^2, in one pass over memory each way where torch takes two and three; the size is a multiple of 16."""
    return _SquaredRelu.apply(x)


def logsumexp(logits_PV: Tensor, *, with_entropy: bool = False) -> tuple[Tensor, Tensor | None]:
    """Of each row, and if it is wanted the entropy of its softmax, (P,) each; contiguous float32."""
    total, entropy = torch.empty(len(logits_PV)), torch.empty(len(logits_PV)) if with_entropy else None
    loaded().trivium_logsumexp(_at(logits_PV), *map(c_int64, logits_PV.shape), _at(total), _at(entropy))
    return total, entropy


def capped(x: Tensor, softcap: float) -> Tensor:
    """softcap tanh(x / softcap); contiguous float32."""
    y = torch.empty_like(x)
    loaded().trivium_capped(_at(x), c_int64(x.numel()), c_float(softcap), _at(y))
    return y


def softmax_slope(logits_PV: Tensor, target_P: Tensor, lse_P: Tensor, weight_P: Tensor, softcap: float | None = None) -> Tensor:
    """Slope by the logits of sum(weight * log softmax[target]), (P, V); contiguous float32. softcap: by what they were before it."""
    slope = torch.empty_like(logits_PV)
    arguments = map(_at, (logits_PV, target_P.contiguous(), lse_P.contiguous(), weight_P.contiguous()))
    loaded().trivium_softmax_slope(*arguments, *map(c_int64, logits_PV.shape), c_float(softcap or 0), _at(slope))
    return slope
