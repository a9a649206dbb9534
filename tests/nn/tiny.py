"""A model small enough for a test, with weights that leave no part of it idle."""

from typing import Any

import torch

from trivium.nn.config import ModelConfig
from trivium.nn.model import Model

VOCAB = 16


def tiny_config(**options: Any) -> ModelConfig:
    sizes = {
        "vocab_size": VOCAB,
        "hidden_size": 8,
        "num_layers": 2,
        "num_heads": 2,
        "num_kv_heads": 1,
        "head_dim": 4,
        "intermediate_size": 12,
    }
    return ModelConfig(**{**sizes, "max_seq_len": 64, "has_qk_norm": True, **options})


def tiny_model(*, seed: int = 0, dtype: torch.dtype = torch.float32, has_scalar: bool = False, **options: Any) -> Model:
    """Random in every weight: `initialise` would start the blocks as the identity, and hide mistakes in them."""
    model = Model(tiny_config(**options), compute_dtype=dtype, has_scalar=has_scalar).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4, generator=generator)
    return model
