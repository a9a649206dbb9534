"""One rank's stretch of every row, where several ranks share long rows: what it holds, what it sees, and how the parts become whole.

Stretches follow each other and are equally long; the last ones may hold padding beyond the row. Left out: ring attention, which passes
keys and values on piece by piece. All of them are gathered instead: with grouped heads they are a small part of what a rank keeps, and
documents may begin and end anywhere (Llama 3, Grattafiori et al. 2024, arXiv:2407.21783, section 3.3.2).
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from trivium.nn.kernels import Documents

try:
    from torch.distributed._functional_collectives import all_gather_single_autograd as gather
except ImportError:  # its name before torch 2.13
    from torch.distributed._functional_collectives import all_gather_tensor_autograd as gather


class Stretch:
    """The places `start` to `start + size` of rows of `length` positions that the ranks of a group share.

    To the layers of a model it is what a cache is: `extend` gives the keys and values that queries look at.
    """

    def __init__(self, group: dist.ProcessGroup, length: int) -> None:
        self.group, self.length = group, length
        self.size = -(-length // group.size())
        self.start = self.size * group.rank()
        self.end = self.start + self.size

    def own(self, x_BL: Tensor, fill: float = 0) -> Tensor:
        """This rank's part of x, (B, size, ...). fill: what stands behind the row."""
        missing = self.size * self.group.size() - self.length
        padding = (0, 0) * (x_BL.dim() - 2) + (0, missing)
        return F.pad(x_BL, padding, value=fill)[:, self.start : self.end]

    def whole(self, x_BS: Tensor) -> Tensor:
        """What all ranks hold, (B, ranks x size), on every rank. A slope reaches only what is this rank's own: the others take theirs."""
        parts = [torch.empty_like(x_BS) for _ in range(self.group.size())]
        dist.all_gather(parts, x_BS.detach().contiguous(), group=self.group)
        parts[self.group.rank()] = x_BS
        return torch.cat(parts, 1)

    def extend(self, layer: int, key_BHSD: Tensor, value_BHSD: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """The keys and values of whole rows up to the end of the stretch, (B, H, end, D): of all ranks, and slopes go back to theirs."""
        key, value = gather(torch.stack((key_BHSD, value_BHSD)), 3, self.group)[..., : self.end, :]
        return key, value

    def places(self, device: torch.device) -> Tensor:
        """Where in a row this rank's queries stand, (size,)."""
        return torch.arange(self.start, self.end, device=device)

    def mask(self, sequence_BL: Tensor | None, device: torch.device) -> Tensor:
        """(B or 1, 1, size, end) bool: a query sees itself and what comes before it in its own sequence.

        sequence_BL: None if a row is one sequence.
        """
        before_SM = torch.arange(self.end, device=device) <= self.places(device)[:, None]
        if sequence_BL is None:
            return before_SM[None, None]
        seen_BM = F.pad(sequence_BL, (0, max(0, self.end - self.length)), value=-1)[:, : self.end]
        return (before_SM & (self.own(sequence_BL, -1)[:, :, None] == seen_BM[:, None, :]))[:, None]

    def documents(self, starts_D: Tensor) -> Documents:
        """What a varlen kernel reads instead. starts_D: those of the whole rows, each of which begins a document."""
        row_D, place_D = starts_D // self.length, starts_D % self.length
        starts = row_D * self.size + (place_D - self.start).clamp(0, self.size)
        keys = row_D * self.end + place_D.clamp(max=self.end)
        return Documents(starts.int(), self.size, keys.int(), self.end)
