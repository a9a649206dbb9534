"""Value: the critic learns what an answer is going to be worth."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Metrics
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


@component
class Value:
    """Half the squared distance of the value from the return, the larger one of plain and clipped, per token.

    Ziegler et al. 2019's PPO: the new value may move by at most `clip` from the one at sampling time before the clipped
    term stops pulling. clip = 0 leaves the plain squared error.
    """

    kind: Literal["value"] = "value"
    needs: ClassVar[tuple[str, ...]] = ("values", "returns")
    reduction: ClassVar[Reduction] = "token"
    clip: float = Field(default=0.2, ge=0)

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every token, (B, L)."""
        value, old, target = out.values_BL, batch["values"], batch["returns"]
        error = (value - target) ** 2
        if self.clip:
            clipped = old + (value - old).clamp(-self.clip, self.clip)
            error = torch.maximum(error, (clipped - target) ** 2)
        counted = (batch.loss_mask_BL > 0).float()
        square = ((value.detach() - target) ** 2 * counted).sum()
        spread = ((target * counted) ** 2).sum()
        return 0.5 * error, {"value_error": (square, counted.sum()), "value_error_share": (square, spread)}
