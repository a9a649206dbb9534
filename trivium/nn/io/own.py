"""Our own family: a Llama with what no other tool reads (a plain MLP, value embeddings, residual scalars, bounded logits)."""

from trivium.nn.io.llama import FIELDS, MODULES, ROPE
from trivium.nn.io.table import FamilyTable, Field

OWN = FamilyTable(
    model_type="trivium",
    architecture="Trivium",
    fields=FIELDS
    | {
        "has_qk_norm": Field("qk_norm", "flag", False),
        "is_gated": Field("gated_mlp", "flag", True),
        "has_value_embeddings": Field("value_embeddings", "flag", False),
        "has_residual_scalars": Field("residual_scalars", "flag", False),
        "logit_softcap": Field("final_logit_softcapping", "number", is_optional=True),
    },
    rope=ROPE,
    written={"read_by": "trivium alone; no other tool has this architecture"},
    modules=MODULES
    | {
        "model.layers.{}.self_attn.q_norm": ("trunk.blocks.{}.attention.query_norm",),
        "model.layers.{}.self_attn.k_norm": ("trunk.blocks.{}.attention.key_norm",),
        "model.value_embeds.{}": ("trunk.value_embeds.{}.table",),
        "model.value_embeds.{}.scale": ("trunk.value_embeds.{}.scale",),
        "model.stream_scale": ("trunk.stream_scale",),
        "model.embed_scale": ("trunk.embed_scale",),
    },
)
