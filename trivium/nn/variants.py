"""Shapes for pre-training from scratch: one that other tools load, and one that spends tokens better but is read by trivium alone."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from trivium.nn.config import ModelConfig

Variant = Literal["standard", "speedrun"]

# The pieces that modded-nanogpt and nanochat both kept; whether they pay at the sizes of a laptop has not been measured here. This is
# the one place to change when `python -m benchmarks.ablate` says otherwise; saved models say themselves what they are.
SPEEDRUN: Mapping[str, Any] = {
    "activation": "relu2",
    "is_gated": False,
    "has_value_embeddings": True,
    "has_residual_scalars": True,
    "logit_softcap": 15.0,
}
TRAITS: Mapping[Variant, Mapping[str, Any]] = {"standard": {}, "speedrun": SPEEDRUN}


def with_traits(config: ModelConfig, traits: Mapping[str, Any]) -> ModelConfig:
    """A shape with some options changed, of our own family unless there is nothing to change; a plain MLP is four times as wide."""
    if not traits:
        return config
    inner = config.intermediate_size if traits.get("is_gated", True) else 4 * config.hidden_size
    return replace(config, family="trivium", intermediate_size=inner, **traits)
