"""Keys and values of what was read so far, so that a new token costs one position of work. Rows in one piece; in pages: pages.py."""

import torch
from torch import Tensor

from trivium.nn.config import ModelConfig

VISIBLE = 256  # keys that a step looks at are this many, or twice as many, or four times ...


def visible(positions: int, capacity: int) -> int:
    """How many leading positions of rows a step looks at whose longest row has so many: few different numbers, at most capacity.

    Looking at all of a row would read up to its whole capacity for each token; looking at just enough gives every step another shape.
    """
    return min(capacity, VISIBLE << max(0, (positions - 1) // VISIBLE).bit_length())


class Cache:
    """Room for `rows` sequences of `length` positions in every layer: (layers, rows, kv_heads, length + 1, head_dim).

    Rows may be at different positions; a query sees the keys at positions up to its own, so what padding left behind is never
    seen. The last slot is for padding.
    """

    def __init__(self, config: ModelConfig, rows: int, length: int, dtype: torch.dtype, device: torch.device | None = None) -> None:
        shape = (config.num_layers, rows, config.num_kv_heads, length + 1, config.head_dim)
        self.keys, self.values = (torch.zeros(shape, dtype=dtype, device=device) for _ in range(2))
        self.slots, self.rows = (torch.arange(size, device=device) for size in (length + 1, rows))

    def move_to(
        self, position_BL: Tensor, *, rows_B: Tensor | None = None, slot_BL: Tensor | None = None, visible: int | None = None
    ) -> Tensor:
        """Say where the next tokens go; returns their mask, (B, 1, L, visible).

        rows_B: of which rows they are; all if None. slot_BL: where they are written, if not at their position: padding goes to the
        last slot. visible: leading positions that are looked at; all if None.
        """
        self._rows_B, self._visible = rows_B, len(self.slots) if visible is None else visible
        rows = self.rows if rows_B is None else rows_B
        self._written = (rows[:, None], slice(None), position_BL if slot_BL is None else slot_BL)
        return (self.slots[None, None, : self._visible] <= position_BL[:, :, None])[:, None]

    def extend(self, layer: int, key_BHLD: Tensor, value_BHLD: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new keys and values and return those of these rows that are looked at."""
        keys, values = self.keys[layer], self.values[layer]
        keys[self._written], values[self._written] = key_BHLD.transpose(1, 2), value_BHLD.transpose(1, 2)
        keys, values = keys[:, :, : self._visible], values[:, :, : self._visible]
        return (keys, values) if self._rows_B is None else (keys[self._rows_B], values[self._rows_B])

    def begin(self, row: int, end: int, source: int | None = None, shared: int = 0) -> int | None:  # noqa: ARG002
        """Make a row ready for a sequence that begins with the first `shared` positions of the row `source`; how many it has of them."""
        if source is not None and source != row:
            self.copy_prefix(source, row, shared)
        return shared

    def end(self, row: int) -> None:
        """The sequence of a row has ended: its room is its own anyway."""

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """Give the row `target` the first `length` positions of `source`."""
        for stored in (self.keys, self.values):
            stored[:, target, :, :length] = stored[:, source, :, :length]


def cache_bytes(config: ModelConfig, positions: int, dtype: torch.dtype) -> int:
    """Keys and values of so many positions in every layer."""
    return 2 * config.num_layers * config.num_kv_heads * config.head_dim * positions * dtype.itemsize
