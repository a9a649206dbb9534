"""SmolLM3 (Bakouch et al. 2025, huggingface.co/blog/smollm3): Llama in which every fourth layer has no rotary positions."""

from trivium.nn.io.llama import FIELDS, MODULES
from trivium.nn.io.table import FamilyTable, Field, Pattern, Rope

SMOLLM3 = FamilyTable(
    model_type="smollm3",
    architecture="SmolLM3",
    fields=FIELDS
    | {
        "num_kv_heads": Field("num_key_value_heads", default=4, is_optional=True),
        "tie_head": Field("tie_word_embeddings", "flag", True),
    },
    rope={"rope_theta": Rope("rope_theta", "rope_theta", 2_000_000.0)},
    assumed={"use_sliding_window": False},
    layer_kinds=Pattern("no_rope_layers", {1: "full", 0: "unrotated"}, "no_rope_layer_interval", 4),
    modules=MODULES,
)
