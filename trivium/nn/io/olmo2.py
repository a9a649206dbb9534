"""OLMo 2 (OLMo team 2024, arXiv:2501.00656): Llama that norms what attention and MLP give, and all query or key heads together."""

from trivium.nn.io.llama import FIELDS, MODULES, ROPE
from trivium.nn.io.table import FamilyTable, Field

OLMO2 = FamilyTable(
    model_type="olmo2",
    architecture="Olmo2",
    fields={name: field for name, field in FIELDS.items() if name != "has_mlp_bias"} | {"norm_eps": Field("rms_norm_eps", "number", 1e-5)},
    rope=ROPE,
    fixed={"norm_place": "after", "has_qk_norm": True, "qk_norm_over": "width"},
    modules={theirs: ours for theirs, ours in MODULES.items() if "layernorm" not in theirs}
    | {
        "model.layers.{}.post_attention_layernorm": ("trunk.blocks.{}.attention_post_norm",),
        "model.layers.{}.post_feedforward_layernorm": ("trunk.blocks.{}.mlp_post_norm",),
        "model.layers.{}.self_attn.q_norm": ("trunk.blocks.{}.attention.query_norm",),
        "model.layers.{}.self_attn.k_norm": ("trunk.blocks.{}.attention.key_norm",),
    },
)
