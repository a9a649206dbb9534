"""Qwen2 (Yang et al. 2024, arXiv:2407.10671) and Qwen2.5 (arXiv:2412.15115): Llama with a bias on queries, keys and values."""

from trivium.nn.io.llama import FIELDS, MODULES, ROPE
from trivium.nn.io.table import FamilyTable, Field

QWEN2 = FamilyTable(
    model_type="qwen2",
    architecture="Qwen2",
    fields={name: field for name, field in FIELDS.items() if not name.endswith("_bias")}
    | {"num_kv_heads": Field("num_key_value_heads", default=32, is_optional=True)},
    rope=ROPE,
    fixed={"has_attention_bias": True},
    assumed={"use_sliding_window": False},
    modules=MODULES,
)
