"""Qwen3 (Yang et al. 2025, arXiv:2505.09388): Llama with RMSNorm on queries and keys, a head_dim of its own, no bias in the MLP."""

from trivium.nn.io.llama import FIELDS, MODULES, ROPE
from trivium.nn.io.table import FamilyTable, Field

QWEN3 = FamilyTable(
    model_type="qwen3",
    architecture="Qwen3",
    fields={name: field for name, field in FIELDS.items() if name != "has_mlp_bias"}
    | {"head_dim": Field("head_dim", default=128, is_optional=True)},
    rope=ROPE,
    fixed={"has_qk_norm": True},
    assumed={"use_sliding_window": False},
    modules=MODULES
    | {
        "model.layers.{}.self_attn.q_norm": ("trunk.blocks.{}.attention.query_norm",),
        "model.layers.{}.self_attn.k_norm": ("trunk.blocks.{}.attention.key_norm",),
    },
)
