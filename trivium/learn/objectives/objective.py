"""What Trainer asks of a loss."""

from __future__ import annotations

from typing import ClassVar, Protocol

import torch

from trivium.core.types import Metrics
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


class Objective(Protocol):
    """`(Outputs, Batch) -> (loss, metrics)`.

    The loss is per token (B, L) or per group (G,), as `reduction` says, and never divided by a count. needs: columns it reads.
    A metric is a (sum, count) pair of scalars, which adds up over micro-batches and ranks.
    """

    reads_entropy: ClassVar[bool]

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns it reads."""
        ...

    @property
    def reduction(self) -> Reduction:
        """What its losses are divided by."""
        ...

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Losses and metrics of a micro-batch."""
        ...
