"""Published shapes for the plan's tests."""

from trivium.nn.config import ModelConfig
from trivium.nn.preset import preset
from trivium.plan.shape import Shape
from trivium.stages.planning.jobs import shape_of

LLAMA_8B = shape_of(preset("llama-3.1-8b"))


def llama(*, depth: int, width: int, heads: int, inner: int) -> Shape:
    """Llama 3.1 in its larger sizes (Grattafiori et al. 2024, table 3)."""
    return shape_of(
        ModelConfig(
            vocab_size=128256, hidden_size=width, num_layers=depth, num_heads=heads, num_kv_heads=8, head_dim=128, intermediate_size=inner
        )
    )


LLAMA_70B = llama(depth=80, width=8192, heads=64, inner=28672)
LLAMA_405B = llama(depth=126, width=16384, heads=128, inner=53248)
