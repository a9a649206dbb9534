"""The next token of every row of a cache at once, in fixed shapes, so that a GPU starts it as one graph.

Rows that wait are computed too, on padding: the time of a step hardly depends on them. What differs from step to step is copied into
memory that stays; how many keys are looked at has a graph for each of a few sizes (cache.py).
"""

import copy
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from trivium.nn.cache import visible
from trivium.nn.graphs import Recorded
from trivium.nn.transformer import AnyCache, Linear, Transformer


def why_not_fixed(trunk: Transformer) -> str | None:
    """Why one token of a row is read in a batch of its own size and not in a step of fixed shape; None if it is."""
    if not isinstance(trunk, Transformer):
        return "a guest reads everything again for each token"
    device = trunk.embed.weight.device
    return None if device.type == "cuda" else f"there are no CUDA graphs on {device.type}"


class NextTokens:
    """Steps of one token for each of `rows` rows of a cache, which has `capacity` positions a row."""

    def __init__(self, trunk: Transformer, cache: AnyCache, rows: int, capacity: int) -> None:
        self.trunk, self.cache, self.rows, self.capacity, self.device = trunk, cache, rows, capacity, trunk.embed.weight.device
        self._inputs = torch.zeros(3, rows, 1, dtype=torch.int64, device=self.device)  # tokens, positions, and where they are written
        self._pool = torch.cuda.graph_pool_handle() if self.device.type == "cuda" else None
        self._steps: dict[int, Recorded] = {}
        self._weights: list[int] = []
        self.follow()

    def follow(self) -> None:
        """Weights may lie elsewhere now, as those of a model that ranks gather anew do: then forget what was recorded where they were."""
        weights = [weight.data_ptr() for weight in self.trunk.parameters()]
        if weights != self._weights:
            self._steps.clear()
        self._weights = weights

    def __call__(self, rows: Sequence[int], tokens: Sequence[int], positions: Sequence[int]) -> Tensor:
        """Logits after the new token of each of these rows, (rows, V) with a row for those that wait; overwritten by the next call."""
        inputs = np.zeros((3, self.rows, 1), np.int64)
        inputs[2] = self.capacity  # padding is written where nobody looks
        inputs[:, list(rows), 0] = tokens, positions, positions
        self._inputs.copy_(_sent(inputs, self.device), non_blocking=True)
        size = visible(max(positions) + 1, self.capacity)
        if size not in self._steps:
            self._steps[size] = Recorded(partial(_step, self.trunk, self.cache, self._inputs, size), self.device, self._pool)
        return self._steps[size]()


def _step(trunk: Transformer, cache: AnyCache, inputs: Tensor, size: int) -> Tensor:
    """Not a method: what is recorded would hold the cache until Python looks for circles."""
    tokens, position, slot = inputs
    mask = cache.move_to(position, slot_BL=slot, visible=size)
    return trunk.logits(trunk(tokens, position, mask, cache)[:, 0])


class CastCopy:
    """A transformer like another, its matrices kept in the precision they are used in: no cast, and half of the bytes to read, a token.

    Everything else is the other's own, so the numbers are the same. `refresh` takes over what training has changed, in place. It
    costs the memory of the matrices in that precision. Those of adapters stay as they are.
    """

    def __init__(self, trunk: Transformer) -> None:
        shared = {id(tensor): tensor for tensor in [*trunk.parameters(), *trunk.buffers()]}
        self.trunk = copy.deepcopy(trunk, shared)
        self._pairs: list[tuple[Tensor, Tensor]] = []
        for module in self.trunk.modules():
            if isinstance(module, Linear):
                own = module.weight
                module.weight = nn.Parameter(own.detach().to(trunk.compute_dtype), requires_grad=False)
                self._pairs.append((module.weight, own))

    def refresh(self) -> None:
        """Take over the weights of now."""
        with torch.no_grad():
            for copied, own in self._pairs:
                copied.copy_(own)


def _sent(array: np.ndarray, device: torch.device) -> Tensor:
    """From pinned memory a copy to a GPU is not waited for; torch keeps it until it is over."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory() if device.type == "cuda" else tensor
