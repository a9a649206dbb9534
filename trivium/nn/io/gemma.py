"""Gemma 2 (Gemma team 2024, arXiv:2408.00118) and the text models of Gemma 3 (2025, arXiv:2503.19786).

Norms before and after multiply by 1 + weight, embeddings are scaled, most layers see a sliding window. Gemma 2 bounds scores
and logits; Gemma 3 norms queries and keys instead and rotates the sliding layers by a base of their own.
"""

from trivium.nn.config import LayerKind
from trivium.nn.io.llama import FIELDS, MODULES
from trivium.nn.io.table import FamilyTable, Field, Pattern, Rope

WORDS: dict[str, LayerKind] = {"sliding_attention": "sliding", "full_attention": "full"}

COMMON = {name: field for name, field in FIELDS.items() if name != "has_mlp_bias"} | {
    "num_kv_heads": Field("num_key_value_heads", default=4, is_optional=True),
    "head_dim": Field("head_dim", default=256),
    "activation": Field("hidden_activation", "activation", "gelu_pytorch_tanh"),
    "sliding_window": Field("sliding_window", default=4096, is_optional=True),
    "query_pre_attn_scalar": Field("query_pre_attn_scalar", default=256),
    "tie_head": Field("tie_word_embeddings", "flag", True),
}

FIXED = {"norm": "rms_plus_one", "norm_place": "both", "has_scaled_embedding": True}

NAMES = MODULES | {
    "model.layers.{}.post_attention_layernorm": ("trunk.blocks.{}.attention_post_norm",),
    "model.layers.{}.pre_feedforward_layernorm": ("trunk.blocks.{}.mlp_norm",),
    "model.layers.{}.post_feedforward_layernorm": ("trunk.blocks.{}.mlp_post_norm",),
}

GEMMA2 = FamilyTable(
    model_type="gemma2",
    architecture="Gemma2",
    fields=COMMON
    | {
        "attention_softcap": Field("attn_logit_softcapping", "number", 50.0, is_optional=True),
        "logit_softcap": Field("final_logit_softcapping", "number", 30.0, is_optional=True),
    },
    rope={"rope_theta": Rope("rope_theta", "rope_theta", 10_000.0)},
    fixed=FIXED,
    assumed={"use_bidirectional_attention": False},
    layer_kinds=Pattern("layer_types", WORDS, "sliding_window_pattern", 2),
    modules=NAMES,
    heads_divide_width=True,
)

GEMMA3 = FamilyTable(
    model_type="gemma3_text",
    architecture="Gemma3",
    judges="TextForSequenceClassification",
    fields=COMMON | {"logit_softcap": Field("final_logit_softcapping", "number", is_optional=True)},
    rope={
        "rope_theta": Rope("rope_theta", "rope_theta", 1_000_000.0, section="full_attention"),
        "rope_local_theta": Rope("rope_local_base_freq", "rope_theta", 10_000.0, section="sliding_attention"),
    },
    fixed=FIXED | {"has_qk_norm": True},
    assumed={"use_bidirectional_attention": False, "attn_logit_softcapping": None},
    layer_kinds=Pattern("layer_types", WORDS, "sliding_window_pattern", 6),
    modules=NAMES
    | {
        "model.layers.{}.self_attn.q_norm": ("trunk.blocks.{}.attention.query_norm",),
        "model.layers.{}.self_attn.k_norm": ("trunk.blocks.{}.attention.key_norm",),
    },
    heads_divide_width=True,
)
