"""Tiny random models of transformers, one a family and trait, and a tokenizer for them."""

from pathlib import Path

import torch
import transformers

from trivium.nn.config import LinearScaling, ModelConfig, YarnScaling
from trivium.nn.io.tokenizer_files import tokenizer_config
from trivium.nn.model import Model, initialise
from trivium.text.chat import PLAIN, stop_ids
from trivium.text.tokenizer import SPECIALS, Tokenizer, train_bpe

TEXTS = ["the king of the land said that the people have 12 ships", "a user asks, an assistant answers: hello world"] * 4
TOKENIZER: Tokenizer = train_bpe(TEXTS, 300)
STOPS = stop_ids(TOKENIZER, PLAIN)
V = TOKENIZER.vocab_size
FILES = {"tokenizer_json": TOKENIZER.to_json(), "tokenizer_config": tokenizer_config(TOKENIZER, PLAIN), "stop_ids": STOPS}
LARGER: Tokenizer = train_bpe(TEXTS, 2 * V, (*SPECIALS, *(f"<|{number}|>" for number in range(V - 260))))  # more ids than the models have

SHAPE = {
    "vocab_size": V,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
}
DEEP = SHAPE | {"num_hidden_layers": 4}
GPT2 = {"vocab_size": V, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64} | {
    name: value for name, value in SHAPE.items() if name.endswith("_id")
}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
CONFIGS = {
    "llama gqa": lambda: transformers.LlamaConfig(**SHAPE, num_key_value_heads=2, rope_parameters=rope(50_000.0)),
    "llama tied": lambda: transformers.LlamaConfig(**SHAPE, num_key_value_heads=1, tie_word_embeddings=True),
    "llama biases": lambda: transformers.LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True, hidden_act="gelu", head_dim=16),
    "qwen3": lambda: transformers.Qwen3Config(**SHAPE, num_key_value_heads=2, head_dim=16),
    "qwen3 tied": lambda: transformers.Qwen3Config(
        **SHAPE, num_key_value_heads=4, head_dim=8, tie_word_embeddings=True, attention_bias=True
    ),
    "llama relu2": lambda: transformers.LlamaConfig(**SHAPE, hidden_act="relu2"),
    "llama 3": lambda: transformers.LlamaConfig(**SHAPE, rope_parameters=rope(500.0, **LLAMA3)),
    "llama linear": lambda: transformers.LlamaConfig(**SHAPE, rope_parameters=rope(500.0, rope_type="linear", factor=3.0)),
    "llama yarn": lambda: transformers.LlamaConfig(**SHAPE, rope_parameters=rope(500.0, **YARN)),
    "mistral": lambda: transformers.MistralConfig(**SHAPE, num_key_value_heads=2, sliding_window=5),
    "mistral without window": lambda: transformers.MistralConfig(
        **SHAPE, num_key_value_heads=4, sliding_window=None, tie_word_embeddings=True,
    ),
    "smollm3": lambda: transformers.SmolLM3Config(**DEEP, num_key_value_heads=2),
    "smollm3 listed": lambda: transformers.SmolLM3Config(**DEEP, no_rope_layers=[0, 1, 1, 0], tie_word_embeddings=False),
    "qwen2": lambda: transformers.Qwen2Config(**SHAPE, num_key_value_heads=2),
    "qwen2.5 tied": lambda: transformers.Qwen2Config(
        **SHAPE, num_key_value_heads=1, tie_word_embeddings=True, rope_parameters=rope(1e6, **YARN)
    ),
    "olmo2": lambda: transformers.Olmo2Config(**SHAPE, num_key_value_heads=2, rope_parameters=rope(500_000.0)),
    "gemma2": lambda: transformers.Gemma2Config(
        **DEEP, num_key_value_heads=2, head_dim=16, sliding_window=6, query_pre_attn_scalar=24,
        attn_logit_softcapping=2.0, final_logit_softcapping=3.0,
    ),
    "gemma2 uncapped": lambda: transformers.Gemma2Config(
        **SHAPE, num_key_value_heads=2, head_dim=8, sliding_window=6, attn_logit_softcapping=None, final_logit_softcapping=None,
    ),
    "gemma3": lambda: transformers.Gemma3TextConfig(
        **DEEP, num_key_value_heads=1, head_dim=16, sliding_window=6, sliding_window_pattern=3, query_pre_attn_scalar=16,
    ),
    "gemma3 stretched": lambda: transformers.Gemma3TextConfig(
        **SHAPE, head_dim=8, sliding_window=6, layer_types=["full_attention", "sliding_attention"], final_logit_softcapping=3.0,
        rope_parameters={
            "full_attention": rope(1e6, rope_type="linear", factor=8.0), "sliding_attention": rope(1e4),
        },
    ),
    "gpt2": lambda: transformers.GPT2Config(**GPT2),
    "gpt2 untied": lambda: transformers.GPT2Config(**GPT2, n_inner=48, activation_function="gelu", tie_word_embeddings=False),
    "neox": lambda: transformers.GPTNeoXConfig(**SHAPE),
    "neox one after the other": lambda: transformers.GPTNeoXConfig(**SHAPE, use_parallel_residual=False, hidden_act="gelu_new"),
    "neox without attention bias": lambda: transformers.GPTNeoXConfig(
        **SHAPE, attention_bias=False, rope_parameters=rope(500.0, partial_rotary_factor=0.5),
    ),
}  # fmt: skip

TINY = {
    "vocab_size": V, "hidden_size": 32, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "head_dim": 8, "intermediate_size": 48,
    "max_seq_len": 64,
}  # fmt: skip
GEMMA = {
    "norm": "rms_plus_one", "norm_place": "both", "activation": "gelu_tanh", "has_scaled_embedding": True, "query_pre_attn_scalar": 24,
    "sliding_window": 7, "tie_head": True,
}  # fmt: skip
SHAPES = {  # ours, small enough to write in a moment
    "llama": ModelConfig(
        family="llama", vocab_size=V, hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, intermediate_size=48,
        max_seq_len=64, tie_head=True,
    ),
    "qwen3": ModelConfig(
        family="qwen3", vocab_size=V + 4, hidden_size=32, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=16, intermediate_size=48,
        max_seq_len=64, has_qk_norm=True, norm_eps=1e-6,
    ),
    "mistral": ModelConfig(**TINY, family="mistral", sliding_window=7),
    "smollm3": ModelConfig(**TINY, family="smollm3", layer_kinds=("unrotated", "full"), tie_head=True),
    "qwen2": ModelConfig(**TINY, family="qwen2", has_attention_bias=True, rope_scaling=YarnScaling(factor=4, original_max_seq_len=16)),
    "olmo2": ModelConfig(**TINY, family="olmo2", norm_place="after", has_qk_norm=True, qk_norm_over="width"),
    "gemma2": ModelConfig(
        **TINY, **GEMMA, family="gemma2", layer_kinds=("sliding", "full"), attention_softcap=2.0, logit_softcap=3.0,
    ),
    "gemma3_text": ModelConfig(
        **TINY, **GEMMA, family="gemma3_text", layer_kinds=("full", "sliding"), has_qk_norm=True, rope_theta=1e6, rope_local_theta=1e4,
        rope_scaling=LinearScaling(factor=8),
    ),
    "gpt2": ModelConfig(
        **TINY | {"num_kv_heads": 4, "activation": "gelu_tanh"}, family="gpt2", positions="learned", norm="layer", is_gated=False,
        has_attention_bias=True, has_output_bias=True, has_mlp_bias=True, tie_head=True,
    ),
    "gpt_neox": ModelConfig(
        family="gpt_neox", vocab_size=V, hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=4, head_dim=8, intermediate_size=128,
        max_seq_len=64, rotary_share=0.25, norm="layer", activation="gelu", is_gated=False, is_parallel=True, has_attention_bias=True,
        has_output_bias=True, has_mlp_bias=True,
    ),
    "trivium": ModelConfig(
        **TINY | {"num_layers": 3}, family="trivium", activation="relu2", is_gated=False, has_qk_norm=True, has_value_embeddings=True,
        has_residual_scalars=True, logit_softcap=3.0,
    ),
}  # fmt: skip
EXPORTED = [family for family in SHAPES if family != "trivium"]  # what other tools read


def rope(theta: float, **parameters: object) -> dict[str, object]:
    """`rope_parameters` as transformers 5 writes them."""
    return {"rope_type": "default", "rope_theta": theta, **parameters}


def theirs(name: str, *, judges: bool = False) -> transformers.PreTrainedModel:
    """A model of transformers whose every weight is random: norms and biases too, or they could be exchanged unnoticed."""
    config = CONFIGS[name]()
    if judges:
        config.num_labels = 1
    torch.manual_seed(7)
    kind = transformers.AutoModelForSequenceClassification if judges else transformers.AutoModelForCausalLM
    model = kind.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return model


def ours(name: str, *, has_scalar: bool = False) -> Model:
    """A model of ours with random weights everywhere, its scalar head among them."""
    model = initialise(Model(SHAPES[name], has_scalar=has_scalar), seed=3)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
        if model.scalar_head is not None:
            model.scalar_head.gain.fill_(0.37)
            model.scalar_head.bias.fill_(-1.23456789)
    return model


def save_theirs(model: transformers.PreTrainedModel, folder: Path, **options: object) -> Path:
    """`save_pretrained`, quietly."""
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder, **options)
    return folder


def logits(model: Model, tokens_BL: torch.Tensor) -> torch.Tensor:
    """Our logits, (B, L, V)."""
    position_BL = torch.arange(tokens_BL.shape[1]).expand_as(tokens_BL)
    return model.trunk.logits(model.trunk(tokens_BL, position_BL))
