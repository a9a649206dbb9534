"""Keys and values of what was read so far, so that a new token costs one position of work."""

import torch
from torch import Tensor

from trivium.nn.config import ModelConfig


class Cache:
    """Room for `rows` sequences of `length` positions in every layer: (layers, rows, kv_heads, length, head_dim).

    Rows may be at different positions; a query sees the keys at positions up to its own, so what padding left behind is never seen.
    """

    def __init__(self, config: ModelConfig, rows: int, length: int, dtype: torch.dtype) -> None:
        shape = (config.num_layers, rows, config.num_kv_heads, length, config.head_dim)
        self.keys, self.values = torch.zeros(shape, dtype=dtype), torch.zeros(shape, dtype=dtype)
        self.rows_B = torch.arange(rows)[:, None]
        self.slots = torch.arange(length)

    def move_to(self, position_BL: Tensor) -> Tensor:
        """Say where the next tokens go; returns their mask, (B, 1, L, length)."""
        self.position_BL = position_BL
        return (self.slots[None, None, :] <= position_BL[:, :, None])[:, None]

    def extend(self, layer: int, key_BHLD: Tensor, value_BHLD: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new keys and values at their positions and return all of the layer's."""
        keys, values = self.keys[layer], self.values[layer]
        keys[self.rows_B, :, self.position_BL] = key_BHLD.transpose(1, 2)
        values[self.rows_B, :, self.position_BL] = value_BHLD.transpose(1, 2)
        return keys, values

    def keep(self, rows: Tensor) -> None:
        """Drop every row but these (in this order)."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.rows_B = torch.arange(len(rows))[:, None]
