"""What GGUF calls a model's numbers and tensors: one table for the Llama-like architectures, which differ only in their fixed traits.

llama.cpp rotates neighbouring pairs of a head for `llama` and halves of a head for the others, so the rows of queries and keys
of `llama` are stored in another order than Hugging Face's (and ours), which rotates halves everywhere.
"""

import numpy as np

from trivium.nn.config import ModelConfig

ARCHITECTURES = ("llama", "qwen2", "qwen3")  # equal to our families
INTERLEAVED = ("llama",)

COUNTS = {  # our option -> key after "ARCHITECTURE."
    "max_seq_len": "context_length",
    "hidden_size": "embedding_length",
    "num_layers": "block_count",
    "intermediate_size": "feed_forward_length",
    "num_heads": "attention.head_count",
    "num_kv_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
}
NUMBERS = {"rope_theta": "rope.freq_base", "norm_eps": "attention.layer_norm_rms_epsilon"}
BIASES = {"has_attention_bias": "blk.0.attn_q.bias", "has_output_bias": "blk.0.attn_output.bias", "has_mlp_bias": "blk.0.ffn_up.bias"}
HEAD = "output.weight"

_MODULES = {
    "trunk.embed": "token_embd",
    "trunk.blocks.{}.attention_norm": "blk.{}.attn_norm",
    "trunk.blocks.{}.attention.query": "blk.{}.attn_q",
    "trunk.blocks.{}.attention.key": "blk.{}.attn_k",
    "trunk.blocks.{}.attention.value": "blk.{}.attn_v",
    "trunk.blocks.{}.attention.out": "blk.{}.attn_output",
    "trunk.blocks.{}.attention.query_norm": "blk.{}.attn_q_norm",
    "trunk.blocks.{}.attention.key_norm": "blk.{}.attn_k_norm",
    "trunk.blocks.{}.mlp_norm": "blk.{}.ffn_norm",
    "trunk.blocks.{}.mlp.gate": "blk.{}.ffn_gate",
    "trunk.blocks.{}.mlp.up": "blk.{}.ffn_up",
    "trunk.blocks.{}.mlp.down": "blk.{}.ffn_down",
    "trunk.final_norm": "output_norm",
    "trunk.head": "output",
}


def gguf_name(ours: str) -> str:
    """The name of one of our tensors in a GGUF file. Raises KeyError for a tensor that these architectures do not have."""
    module, leaf = ours.rsplit(".", 1)
    parts = module.split(".")
    layer = parts[2] if parts[1] == "blocks" else ""
    general = ".".join("{}" if index == 2 and layer else part for index, part in enumerate(parts))
    return f"{_MODULES[general].format(layer)}.{leaf}"


def num_turned_heads(ours: str, config: ModelConfig) -> int:
    """How many heads the rows of a tensor are, if GGUF has them in the order of neighbouring pairs; else 0."""
    if config.family not in INTERLEAVED:
        return 0
    counts = {"attention.query": config.num_heads, "attention.key": config.num_kv_heads}
    return next((count for module, count in counts.items() if ours.rsplit(".", 1)[0].endswith(module)), 0)


def interleave(rows: np.ndarray, num_heads: int) -> np.ndarray:
    """Halves of each head to neighbouring pairs: rows 0 1 2 3 of a head become 0 2 1 3."""
    return rows.reshape(num_heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def deinterleave(rows: np.ndarray, num_heads: int) -> np.ndarray:
    """Neighbouring pairs of each head to halves: the inverse of `interleave`."""
    return rows.reshape(num_heads, -1, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)
