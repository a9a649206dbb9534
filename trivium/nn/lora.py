"""LoRA's options, and what it costs, without torch: a dry run reads them. The layers are in adapter.py."""

from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.nn.config import ModelConfig
from trivium.nn.flops import flops_per_token, num_embedding_parameters, num_parameters

Target = Literal["query", "key", "value", "out", "gate", "up", "down"]


@component
class LoRA:
    """Low-rank adapters on frozen weights: y = W x + alpha / r * B A x (Hu et al. 2021, arXiv:2106.09685, section 4.1).

    r: rank, columns of B. alpha: size of the update; it is divided by r, so a rank-stabilised adapter (Kalajdzievski 2023,
    arXiv:2312.03732) is alpha times the root of r, and needs no option. targets: linear layers of the blocks; a family without
    one of them goes without it. base: the precision that frozen matrices are kept in; int8 takes a quarter of the memory and
    more time, and the adapter learns on top of its rounding (Dettmers et al. 2023, arXiv:2305.14314, there with 4 bits).
    Differences from Hu et al.: all linear layers instead of query and value, and no dropout.
    """

    r: int = Field(default=16, gt=0)
    alpha: float = Field(default=32.0, gt=0)
    targets: tuple[Target, ...] = Field(default=("query", "key", "value", "out", "gate", "up", "down"), min_length=1)
    base: Literal["float32", "int8"] = "float32"

    def num_parameters(self, config: ModelConfig) -> int:
        """Numbers in the A and B of all layers; an A that several layers share is counted for each, since each multiplies by it."""
        width, inner = config.hidden_size, config.intermediate_size
        query, key = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        both = {
            "query": width + query, "key": width + key, "value": width + key, "out": query + width,
            "gate": (width + inner) * config.is_gated, "up": width + inner, "down": inner + width,
        }  # fmt: skip
        return self.r * config.num_layers * sum(both[target] for target in set(self.targets))

    def flops_per_token(self, config: ModelConfig, seq_len: int) -> int:
        """What training spends on a token: for the frozen matrices, the head among them, 2 a weight less, as they need no gradient."""
        frozen = num_parameters(config) - num_embedding_parameters(config) + config.vocab_size * config.hidden_size
        return flops_per_token(config, seq_len) - 2 * frozen + 6 * self.num_parameters(config)

    def saved_bytes(self, config: ModelConfig) -> int:
        """Memory that training with it does without: gradients and AdamW's state of what is frozen, and of int8 weights 3 bytes each."""
        matrices = num_parameters(config) - num_embedding_parameters(config)
        return 12 * num_parameters(config) + (3 * matrices if self.base == "int8" else 0) - 16 * self.num_parameters(config)
