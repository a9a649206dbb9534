"""A model as the C++ kernels want it: panels of weights, plain arrays and structures of their addresses."""

import ctypes
from ctypes import byref, c_void_p
from typing import Literal, cast

import torch
from torch import Tensor

from trivium.nn.adapter import bias_of, effective_weight
from trivium.nn.native.library import lanes, loaded
from trivium.nn.native.structures import Layer, Linear, Model
from trivium.nn.native.training import ACTIVATIONS
from trivium.nn.transformer import MLP, Block, Norm, Scale, Transformer

Precision = Literal["float32", "bfloat16", "int8"]
CODES = {"float32": 0, "bfloat16": 1, "int8": 2}
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
MULTIPLE = 16  # sizes are whole vectors of every processor


class Packed:
    """Weights, keys and values of a transformer, and the structure that points to them."""

    def __init__(self, trunk: Transformer, *, rows: int, capacity: int, precision: Precision, most_tokens: int) -> None:
        config, self.precision, self.most_tokens = trunk.config, precision, most_tokens
        self.capacity = -(-capacity // 64) * 64  # the kernels read whole blocks of 64 positions
        dtype, heads = torch.float32 if precision == "float32" else torch.bfloat16, (config.num_layers, rows, config.num_kv_heads)
        self.keys = torch.zeros(*heads, config.head_dim, self.capacity, dtype=dtype)
        self.values = torch.zeros(*heads, self.capacity, config.head_dim, dtype=dtype)
        self.pack(trunk)

    def pack(self, trunk: Transformer) -> None:
        """Take the weights as they are now."""
        self._kept: list[object] = []  # the structures hold bare addresses of these
        with torch.no_grad():
            layers = [self._layer(trunk, number, cast(Block, block)) for number, block in enumerate(trunk.blocks)]
            self.model = self._model(trunk, (Layer * len(layers))(*layers))

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """Copy the keys and values of the first positions of a row to another row."""
        self.keys[:, target, :, :, :length] = self.keys[:, source, :, :, :length]
        self.values[:, target, :, :length] = self.values[:, source, :, :length]

    def _model(self, trunk: Transformer, layers: ctypes.Array[Layer]) -> Model:
        config = trunk.config
        self._kept.append(layers)
        final_norm, final_norm_bias = self._norm(trunk.final_norm)
        return Model(
            layers=layers, head=self._linear(trunk.head.weight, None), final_norm=final_norm, final_norm_bias=final_norm_bias,
            num_layers=config.num_layers, width=config.hidden_size, heads=config.num_heads, kv_heads=config.num_kv_heads,
            head_dim=config.head_dim, inner=config.intermediate_size, vocab=config.vocab_size, capacity=self.capacity,
            precision=CODES[self.precision], half_cache=self.keys.dtype != torch.float32, centred_norm=config.norm == "layer",
            activation=ACTIVATIONS[config.activation], gated=config.is_gated, parallel=config.is_parallel,
            whole_qk_norm=config.qk_norm_over == "width", most_tokens=self.most_tokens, eps=config.norm_eps,
            query_scale=(config.query_pre_attn_scalar or config.head_dim) ** -0.5,
            attention_cap=config.attention_softcap or 0, final_cap=config.logit_softcap or 0,
        )  # fmt: skip

    def _layer(self, trunk: Transformer, number: int, block: Block) -> Layer:
        attention, mlp, described = block.attention, block.mlp, trunk.layers[number]
        rope = trunk.rope_table(described.rope)
        projections = (attention.query, attention.key, attention.value)
        names = ("attention_norm", "mlp_norm", "attention_post_norm", "mlp_post_norm")
        norms = {name: self._norm(getattr(block, name)) for name in names}
        return Layer(
            qkv=self._linear(torch.cat([effective_weight(part) for part in projections]), _joined([bias_of(part) for part in projections])),
            out=self._linear(effective_weight(attention.out), bias_of(attention.out)),
            up=self._linear(*_gate_and_up(mlp)),
            down=self._linear(effective_weight(mlp.down), bias_of(mlp.down)),
            attention_norm=norms["attention_norm"][0], attention_norm_bias=norms["attention_norm"][1],
            mlp_norm=norms["mlp_norm"][0], mlp_norm_bias=norms["mlp_norm"][1],
            attention_post_norm=norms["attention_post_norm"][0], mlp_post_norm=norms["mlp_post_norm"][0],
            query_norm=self._norm(attention.query_norm)[0], key_norm=self._norm(attention.key_norm)[0],
            cosine=None if rope is None else self._address(rope[0]), sine=None if rope is None else self._address(rope[1]),
            keys=self.keys[number].data_ptr(), values=self.values[number].data_ptr(),
            rotated=0 if rope is None else 2 * rope[0].shape[1], window=described.window or 0,
            added=[layer.has_values for layer in trunk.layers[:number]].count(True) if described.has_values else -1,
            stream_scale=_number(trunk.stream_scale, number, 1.0), embed_scale=_number(trunk.embed_scale, number, 0.0),
        )  # fmt: skip

    def _linear(self, weight: Tensor, bias: Tensor | None) -> Linear:
        rows, columns = weight.shape
        panel = 2 * lanes()  # outputs that are computed together
        outputs, inputs = -(-rows // panel) * panel, -(-columns // 4) * 4
        panels = torch.empty(outputs * inputs * BYTES[self.precision], dtype=torch.uint8)
        linear = Linear(weight=panels.data_ptr(), outputs=outputs, inputs=inputs)
        if self.precision == "int8":
            scale, offset = torch.empty(outputs), torch.empty(outputs, dtype=torch.int32)
            linear.scale, linear.offset = scale.data_ptr(), offset.data_ptr()
            self._kept += [scale, offset]
        if bias is not None:
            linear.bias = self._address(torch.nn.functional.pad(bias.float(), (0, outputs - rows)))
        source = weight.float().contiguous()
        loaded().trivium_pack(c_void_p(source.data_ptr()), rows, columns, CODES[self.precision], byref(linear))
        self._kept.append(panels)
        return linear

    def _norm(self, norm: torch.nn.Module | None) -> tuple[int | None, int | None]:
        """Addresses of weight and bias; none where there is no norm."""
        if not isinstance(norm, Norm):
            return None, None
        return self._address(norm.scale()), None if norm.bias is None else self._address(norm.bias)

    def _address(self, x: Tensor) -> int:
        """Of a copy in fp32 that stays."""
        copy = x.detach().to(torch.float32, copy=True).contiguous()
        self._kept.append(copy)
        return copy.data_ptr()


def _number(scale: Scale | None, layer: int, default: float) -> float:
    return default if scale is None else float(scale.weight[layer])


def _joined(biases: list[Tensor | None]) -> Tensor | None:
    there = [bias for bias in biases if bias is not None]
    return torch.cat(there) if there else None


def _gate_and_up(mlp: MLP) -> tuple[Tensor, Tensor | None]:
    """A vector of rows of the gate, one of up, and so on: both halves of a gated product come out of one panel."""
    gate, up = mlp.gate, effective_weight(mlp.up)
    if gate is None:
        return up, bias_of(mlp.up)

    def mixed(first: Tensor, second: Tensor) -> Tensor:
        return torch.stack([first.unflatten(0, (-1, lanes())), second.unflatten(0, (-1, lanes()))], dim=1).flatten(0, 2)

    gate_bias, up_bias = bias_of(gate), bias_of(mlp.up)
    return mixed(effective_weight(gate), up), None if gate_bias is None or up_bias is None else mixed(gate_bias, up_bias)
