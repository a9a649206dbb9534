"""Cross-entropy: make the text that is there more likely (pre-training, supervised fine-tuning)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from trivium.core.config import component
from trivium.core.types import Metrics
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


@component
class CrossEntropy:
    """Negative log-prob of every token that counts, (B, L) in nats."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    needs: ClassVar[tuple[str, ...]] = ()
    reduction: ClassVar[Reduction] = "token"

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every token, (B, L)."""
        return -out.logprobs_BL, {}
