"""Mistral (Jiang et al. 2023, arXiv:2310.06825): Llama without biases, whose queries see the last sliding_window positions if it is set."""

from trivium.nn.io.llama import FIELDS, MODULES, ROPE
from trivium.nn.io.table import FamilyTable, Field

MISTRAL = FamilyTable(
    model_type="mistral",
    architecture="Mistral",
    fields={name: field for name, field in FIELDS.items() if not name.endswith("_bias")}
    | {
        "num_kv_heads": Field("num_key_value_heads", default=8, is_optional=True),
        "sliding_window": Field("sliding_window", default=4096, is_optional=True),
    },
    rope=ROPE,
    modules=MODULES,
)
