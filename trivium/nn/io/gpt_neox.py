"""GPT-NeoX (Black et al. 2022, arXiv:2204.06745) and Pythia (Biderman et al. 2023, arXiv:2304.01373).

Queries, keys and values are one matrix, laid out [heads, 3, head_dim]; rotary positions turn a share of each head.
"""

from trivium.nn.io.table import FamilyTable, Field, Rope

GPT_NEOX = FamilyTable(
    model_type="gpt_neox",
    architecture="GPTNeoX",
    fields={
        "vocab_size": Field("vocab_size"),
        "hidden_size": Field("hidden_size"),
        "num_layers": Field("num_hidden_layers"),
        "num_heads": Field("num_attention_heads"),
        "intermediate_size": Field("intermediate_size"),
        "max_seq_len": Field("max_position_embeddings"),
        "norm_eps": Field("layer_norm_eps", "number", 1e-5),
        "activation": Field("hidden_act", "activation", "gelu"),
        "is_parallel": Field("use_parallel_residual", "flag", True),
        "has_attention_bias": Field("attention_bias", "flag", True),
        "has_output_bias": Field("attention_bias", "flag", True),
        "tie_head": Field("tie_word_embeddings", "flag", False),
    },
    rope={
        "rope_theta": Rope("rotary_emb_base", "rope_theta", 10_000.0),
        "rotary_share": Rope("rotary_pct", "partial_rotary_factor", 0.25),
    },
    fixed={"norm": "layer", "is_gated": False, "has_mlp_bias": True},
    modules={
        "gpt_neox.embed_in": ("trunk.embed",),
        "gpt_neox.layers.{}.input_layernorm": ("trunk.blocks.{}.attention_norm",),
        "gpt_neox.layers.{}.attention.query_key_value": (
            "trunk.blocks.{}.attention.query",
            "trunk.blocks.{}.attention.key",
            "trunk.blocks.{}.attention.value",
        ),
        "gpt_neox.layers.{}.attention.dense": ("trunk.blocks.{}.attention.out",),
        "gpt_neox.layers.{}.post_attention_layernorm": ("trunk.blocks.{}.mlp_norm",),
        "gpt_neox.layers.{}.mlp.dense_h_to_4h": ("trunk.blocks.{}.mlp.up",),
        "gpt_neox.layers.{}.mlp.dense_4h_to_h": ("trunk.blocks.{}.mlp.down",),
        "gpt_neox.final_layer_norm": ("trunk.final_norm",),
        "embed_out": ("trunk.head",),
    },
    is_interleaved=True,
    ignored=(".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"),
    heads_divide_width=True,
)
