"""Sums that have the same bits with 1, 2 or 4 ranks: a step is cut into EXACT_SHARES parts, whose gradients are added in one order.

Floating-point addition is commutative but not associative, so what is added to what is fixed: parts in pairs, pairs in pairs. Each rank
adds its own, which stand next to each other, then exchanges with the rank one bit away, so that all have the sum. Every rank has all
weights: none are spread, and each makes the same update. For parts of the same size on the same kind of machine with the same threads.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trivium.train.parallel import rank_and_size
from trivium.train.ranks import agreed


def tree_sum(parts: Sequence[Tensor]) -> Tensor:
    """The sum of the parts of all ranks, on all ranks; as many parts, a power of two, on each of 1, 2, 4 ... ranks. A collective."""
    while len(parts) > 1:
        parts = [left + right for left, right in zip(parts[::2], parts[1::2], strict=True)]
    total, (rank, size), reach = parts[0], rank_and_size(), 1
    while reach < size:
        other, peer = torch.empty_like(total), rank ^ reach
        for exchange in dist.batch_isend_irecv([dist.P2POp(dist.isend, total, peer), dist.P2POp(dist.irecv, other, peer)]):
            exchange.wait()
        total, reach = total + other, reach * 2
    return total


class GradientTree:
    """The gradients of a model, taken part by part, and then given back as one sum."""

    def __init__(self, model: nn.Module) -> None:
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.before = self._taken()
        self.parts: list[Tensor] = []
        self.is_there = [False] * len(self.weights)

    def take(self) -> None:
        """Put the gradients of one part by."""
        taken = self._taken()
        self.is_there = [there or gradient is not None for there, gradient in zip(self.is_there, taken, strict=True)]
        both = zip(taken, self.weights, strict=True)
        self.parts.append(torch.cat([(torch.zeros_like(weight) if each is None else each).flatten() for each, weight in both]))

    def give_back(self) -> None:
        """Add the sum over all parts of all ranks to the gradients that were there before. A collective."""
        is_there = agreed([int(there) for there in self.is_there])
        pieces = tree_sum(self.parts).split([weight.numel() for weight in self.weights])
        for weight, piece, before, there in zip(self.weights, pieces, self.before, is_there, strict=True):
            found = piece.view_as(weight) if there else None
            weight.grad = found if before is None else before if found is None else before + found

    def _taken(self) -> list[Tensor | None]:
        taken = [weight.grad for weight in self.weights]
        for weight in self.weights:
            weight.grad = None
        return taken
