"""GPT-2 (Radford et al. 2019, "Language models are unsupervised multitask learners"): learned positions, LayerNorm, biases, tied head.

Matrices have a row for each input; queries, keys and values are one of them, one after the other.
"""

from trivium.nn.io.table import FamilyTable, Field

GPT2 = FamilyTable(
    model_type="gpt2",
    architecture="GPT2",
    speaks="LMHeadModel",
    fields={
        "vocab_size": Field("vocab_size"),
        "hidden_size": Field("n_embd"),
        "num_layers": Field("n_layer"),
        "num_heads": Field("n_head"),
        "intermediate_size": Field("n_inner", is_optional=True),
        "max_seq_len": Field("n_positions"),
        "norm_eps": Field("layer_norm_epsilon", "number", 1e-5),
        "activation": Field("activation_function", "activation", "gelu_new"),
        "tie_head": Field("tie_word_embeddings", "flag", True),
    },
    fixed={
        "positions": "learned",
        "norm": "layer",
        "is_gated": False,
        "has_attention_bias": True,
        "has_output_bias": True,
        "has_mlp_bias": True,
    },
    assumed={"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False},
    written={"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0},
    modules={
        "transformer.wte": ("trunk.embed",),
        "transformer.wpe": ("trunk.position_embed",),
        "transformer.h.{}.ln_1": ("trunk.blocks.{}.attention_norm",),
        "transformer.h.{}.attn.c_attn": (
            "trunk.blocks.{}.attention.query",
            "trunk.blocks.{}.attention.key",
            "trunk.blocks.{}.attention.value",
        ),
        "transformer.h.{}.attn.c_proj": ("trunk.blocks.{}.attention.out",),
        "transformer.h.{}.ln_2": ("trunk.blocks.{}.mlp_norm",),
        "transformer.h.{}.mlp.c_fc": ("trunk.blocks.{}.mlp.up",),
        "transformer.h.{}.mlp.c_proj": ("trunk.blocks.{}.mlp.down",),
        "transformer.ln_f": ("trunk.final_norm",),
        "lm_head": ("trunk.head",),
    },
    transposed=(".attn.c_attn", ".attn.c_proj", ".mlp.c_fc", ".mlp.c_proj"),
    ignored=(".attn.bias", ".attn.masked_bias"),
    heads_divide_width=True,
)
