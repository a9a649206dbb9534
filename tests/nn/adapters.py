"""Models with an adapter that does something: a fresh one, whose B is zeros, would hide mistakes."""

import torch

from tests.nn.io_models import ours
from trivium.nn.adapter import adapt
from trivium.nn.lora import LoRA
from trivium.nn.model import Model

SMALL = LoRA(r=4, alpha=8)


def fill(model: Model, seed: int = 9) -> Model:
    """Random numbers in every B, and in a scalar head."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("lora_B") or name == "scalar_head.weight":
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model


def adapted(family: str, lora: LoRA = SMALL, *, has_scalar: bool = False) -> Model:
    """A model of a family with a filled adapter."""
    model = ours(family, has_scalar=has_scalar)
    adapt(model, lora, seed=1)
    return fill(model)
