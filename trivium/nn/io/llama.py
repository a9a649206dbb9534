"""Llama 1 to 3 (Touvron et al. 2023, arXiv:2302.13971 and 2307.09288; Grattafiori et al. 2024, 2407.21783), and SmolLM2, which is one."""

from trivium.nn.io.table import FamilyTable, Field, Rope

FIELDS = {
    "vocab_size": Field("vocab_size"),
    "hidden_size": Field("hidden_size"),
    "num_layers": Field("num_hidden_layers"),
    "num_heads": Field("num_attention_heads"),
    "num_kv_heads": Field("num_key_value_heads", is_optional=True),
    "head_dim": Field("head_dim", is_optional=True),
    "intermediate_size": Field("intermediate_size"),
    "max_seq_len": Field("max_position_embeddings"),
    "norm_eps": Field("rms_norm_eps", "number", 1e-6),
    "activation": Field("hidden_act", "activation", "silu"),
    "has_attention_bias": Field("attention_bias", "flag", False),
    "has_output_bias": Field("attention_bias", "flag", False),
    "has_mlp_bias": Field("mlp_bias", "flag", False),
    "tie_head": Field("tie_word_embeddings", "flag", False),
}

MODULES = {
    "model.embed_tokens": ("trunk.embed",),
    "model.layers.{}.input_layernorm": ("trunk.blocks.{}.attention_norm",),
    "model.layers.{}.self_attn.q_proj": ("trunk.blocks.{}.attention.query",),
    "model.layers.{}.self_attn.k_proj": ("trunk.blocks.{}.attention.key",),
    "model.layers.{}.self_attn.v_proj": ("trunk.blocks.{}.attention.value",),
    "model.layers.{}.self_attn.o_proj": ("trunk.blocks.{}.attention.out",),
    "model.layers.{}.post_attention_layernorm": ("trunk.blocks.{}.mlp_norm",),
    "model.layers.{}.mlp.gate_proj": ("trunk.blocks.{}.mlp.gate",),
    "model.layers.{}.mlp.up_proj": ("trunk.blocks.{}.mlp.up",),
    "model.layers.{}.mlp.down_proj": ("trunk.blocks.{}.mlp.down",),
    "model.norm": ("trunk.final_norm",),
    "lm_head": ("trunk.head",),
}

ROPE = {"rope_theta": Rope("rope_theta", "rope_theta", 10_000.0)}

LLAMA = FamilyTable(
    model_type="llama",
    architecture="Llama",
    fields=FIELDS,
    rope=ROPE,
    assumed={"rope_interleaved": False},
    modules=MODULES,
    ignored=(".rotary_emb.inv_freq",),
    heads_divide_width=True,
)
