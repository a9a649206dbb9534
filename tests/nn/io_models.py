"""Tiny random models of transformers, one a family and trait, and a tokenizer for them."""

from pathlib import Path

import torch
import transformers

from trivium.nn.config import ModelConfig
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
CONFIGS = {
    "llama gqa": lambda: transformers.LlamaConfig(**SHAPE, num_key_value_heads=2, rope_parameters=rope(50_000.0)),
    "llama tied": lambda: transformers.LlamaConfig(**SHAPE, num_key_value_heads=1, tie_word_embeddings=True),
    "llama biases": lambda: transformers.LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True, hidden_act="gelu", head_dim=16),
    "qwen3": lambda: transformers.Qwen3Config(**SHAPE, num_key_value_heads=2, head_dim=16),
    "qwen3 tied": lambda: transformers.Qwen3Config(
        **SHAPE, num_key_value_heads=4, head_dim=8, tie_word_embeddings=True, attention_bias=True
    ),
    "neox": lambda: transformers.GPTNeoXConfig(**SHAPE),
    "neox one after the other": lambda: transformers.GPTNeoXConfig(**SHAPE, use_parallel_residual=False, hidden_act="gelu_new"),
    "neox without attention bias": lambda: transformers.GPTNeoXConfig(**SHAPE, attention_bias=False, rope_parameters=rope(500.0, 0.5)),
}

SHAPES = {  # ours, small enough to write in a moment
    "llama": ModelConfig(
        family="llama", vocab_size=V, hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, intermediate_size=48,
        max_seq_len=64, tie_head=True,
    ),
    "qwen3": ModelConfig(
        family="qwen3", vocab_size=V + 4, hidden_size=32, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=16, intermediate_size=48,
        max_seq_len=64, has_qk_norm=True, norm_eps=1e-6,
    ),
    "gpt_neox": ModelConfig(
        family="gpt_neox", vocab_size=V, hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=4, head_dim=8, intermediate_size=128,
        max_seq_len=64, rotary_share=0.25, norm="layer", activation="gelu", is_gated=False, is_parallel=True, has_attention_bias=True,
        has_output_bias=True, has_mlp_bias=True,
    ),
}  # fmt: skip


def rope(theta: float, share: float | None = None) -> dict[str, object]:
    """`rope_parameters` as transformers 5 writes them."""
    return {"rope_type": "default", "rope_theta": theta} | ({} if share is None else {"partial_rotary_factor": share})


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
    return model.trunk.head(model.trunk(tokens_BL, position_BL))
