"""Keys and values in pages of equal size, which rows take when they begin and share where they begin alike.

After Kwon et al. 2023, arXiv:2309.06180 (PagedAttention), without its kernel: torch's own attention reads no pages unless
FlashAttention 3 is installed. So every step gathers the keys and values it looks at, layer by layer, which is three times the
memory traffic of attention over rows in one piece, and a copy of one layer's. Use it only where whole rows do not fit.
Room for all of a sequence is taken when it begins, so none is ever thrown out half-way.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trivium.nn.config import ModelConfig

PAGE = 64  # positions; a sequence wastes half a page


class PagedCache:
    """Stands where a Cache stands, with room for `pages` pages: (layers, kv_heads, pages + 1, PAGE, head_dim). Page 0 is for padding.

    length: the most positions of a row; a multiple of PAGE. At least one row of this length must fit.
    """

    def __init__(
        self, config: ModelConfig, rows: int, length: int, pages: int, dtype: torch.dtype, device: torch.device | None = None
    ) -> None:
        if length % PAGE or pages * PAGE < length:
            raise ValueError(f"rows of {length} positions in {pages} pages of {PAGE}: a row must be whole pages, and fit")
        shape = (config.num_layers, config.num_kv_heads, pages + 1, PAGE, config.head_dim)
        self.keys, self.values = (torch.zeros(shape, dtype=dtype, device=device) for _ in range(2))
        self.slots, self.rows = (torch.arange(size, device=device) for size in (length, rows))
        self.table = torch.zeros(rows, length // PAGE + 1, dtype=torch.int64, device=device)  # its last column stays 0, for padding
        self.held: list[list[int]] = [[] for _ in range(rows)]  # the pages of each row, in order
        self.ended: dict[int, None] = {}  # rows whose pages may be taken, those that ended first at the front
        self.users = np.zeros(pages + 1, np.int64)  # how many rows hold a page
        self.free = list(range(pages, 0, -1))

    def move_to(
        self, position_BL: Tensor, *, rows_B: Tensor | None = None, slot_BL: Tensor | None = None, visible: int | None = None
    ) -> Tensor:
        """See Cache; padding goes to the slot `length`. visible is a multiple of PAGE."""
        self._visible = len(self.slots) if visible is None else visible
        rows, slot_BL = self.rows if rows_B is None else rows_B, position_BL if slot_BL is None else slot_BL
        self._written = (slice(None), self.table[rows[:, None], slot_BL // PAGE], slot_BL % PAGE)
        self._read = self.table[rows, : self._visible // PAGE]
        return (self.slots[None, None, : self._visible] <= position_BL[:, :, None])[:, None]

    def extend(self, layer: int, key_BHLD: Tensor, value_BHLD: Tensor) -> tuple[Tensor, Tensor]:
        """See Cache. What a table has no page for is read from page 0, and not seen."""
        gathered = []
        for stored, new in ((self.keys[layer], key_BHLD), (self.values[layer], value_BHLD)):
            stored[self._written] = new.transpose(0, 1)
            gathered.append(stored[:, self._read].flatten(2, 3).transpose(0, 1))
        return gathered[0], gathered[1]

    def begin(self, row: int, end: int, source: int | None = None, shared: int = 0) -> int | None:
        """Take the pages of a sequence that will have `end` positions and begins with the first `shared` of the row `source`.

        Whole pages are shared, the rest of the prefix is copied. Rows that ended give their pages where none are free, the source at
        last. Returns how many positions the row has: shared, or 0 if the source's are gone; None if there is no room now.
        """
        spared = [] if source is None else self.held[source][: -(-shared // PAGE)]
        if len(spared) * PAGE < shared:
            spared, shared = [], 0
        is_copied = shared % PAGE > 0 and not (source == row and self.users[spared[-1]] == 1)
        kept = spared[:-1] if is_copied else spared
        missing = -(-end // PAGE) - len(kept)
        self.users[spared] += 1  # nobody may take them meanwhile
        self._drop(row)
        self._make_room(missing)
        if len(self.free) < missing:
            self._leave(spared)
            return self.begin(row, end) if spared else None
        fresh = [self.free.pop() for _ in range(missing)]
        self.users[fresh] += 1
        if is_copied:
            for stored in (self.keys, self.values):
                stored[:, :, fresh[0]] = stored[:, :, spared[-1]]
            self._leave(spared[-1:])
        self.held[row] = [*kept, *fresh]
        padded = torch.tensor(self.held[row] + [0] * (self.table.shape[1] - len(self.held[row])))
        self.table[row] = padded.to(self.table.device)
        return shared

    def end(self, row: int) -> None:
        """The sequence of a row has ended; another may still begin like it, until its pages are needed."""
        self.ended[row] = None

    def _make_room(self, pages: int) -> None:
        while len(self.free) < pages and self.ended:
            self._drop(next(iter(self.ended)))

    def _drop(self, row: int) -> None:
        self.ended.pop(row, None)
        self._leave(self.held[row])
        self.held[row] = []

    def _leave(self, pages: Sequence[int]) -> None:
        for page in pages:
            self.users[page] -= 1
            if not self.users[page]:
                self.free.append(page)
