"""Keys and values of what was read so far, so that a new token costs one position of work."""

import torch
from torch import Tensor

from trivium.nn.config import ModelConfig


class Cache:
    """Room for `rows` sequences of `length` positions in every layer: (layers, rows, kv_heads, length + 1, head_dim).

    Rows may be at different positions; a query sees the keys at positions up to its own, so what padding left behind is never
    seen. The last slot is for padding.
    """

    def __init__(self, config: ModelConfig, rows: int, length: int, dtype: torch.dtype, device: torch.device | None = None) -> None:
        shape = (config.num_layers, rows, config.num_kv_heads, length + 1, config.head_dim)
        self.keys, self.values = (torch.zeros(shape, dtype=dtype, device=device) for _ in range(2))
        self.slots, self.rows = (torch.arange(size, device=device) for size in (length + 1, rows))

    def move_to(self, position_BL: Tensor, *, rows_B: Tensor | None = None, slot_BL: Tensor | None = None) -> Tensor:
        """Say where the next tokens go; returns their mask, (B, 1, L, length + 1).

        rows_B: of which rows they are; all if None. slot_BL: where they are written, if not at their position: padding goes to the
        last slot.
        """
        self._rows_B = rows_B
        rows = self.rows if rows_B is None else rows_B
        self._written = (rows[:, None], slice(None), position_BL if slot_BL is None else slot_BL)
        return (self.slots[None, None, :] <= position_BL[:, :, None])[:, None]

    def extend(self, layer: int, key_BHLD: Tensor, value_BHLD: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new keys and values and return all of these rows'."""
        keys, values = self.keys[layer], self.values[layer]
        keys[self._written], values[self._written] = key_BHLD.transpose(1, 2), value_BHLD.transpose(1, 2)
        return (keys, values) if self._rows_B is None else (keys[self._rows_B], values[self._rows_B])

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """Give the row `target` the first `length` positions of `source`."""
        for stored in (self.keys, self.values):
            stored[:, target, :, :length] = stored[:, source, :, :length]
