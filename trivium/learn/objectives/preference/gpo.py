"""GPO: one family of losses that DPO, IPO and SLiC belong to, by the convex function of the margin."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Metrics
from trivium.learn.objectives.preference.pairs import logsigmoid, read_pairs
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


@component
class GPO:
    """f(beta margin) for a convex f with a slope below 0 at 0, margin the difference of the log-ratios.

    Tang et al. 2024, arXiv:2402.05749, eq. 3 and table 1: logistic is DPO; squared is (x - 1)^2, which is IPO's with its target at
    1 / beta and times beta^2; hinge, max(0, 1 - x), is SLiC's with a reference. exponential, truncated_squared and savage are the
    paper's others.
    """

    kind: Literal["gpo"] = "gpo"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs",)
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=0.1, gt=0)  # see DPO
    convex: Literal["logistic", "squared", "hinge", "exponential", "truncated_squared", "savage"] = "hinge"

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch)
        x = self.beta * pairs.margin
        return _CONVEX[self.convex](x), pairs.metrics(x)


_CONVEX: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "logistic": lambda x: -logsigmoid(x),
    "squared": lambda x: (x - 1) ** 2,
    "hinge": lambda x: (1 - x).relu(),
    "exponential": lambda x: (-x).exp(),
    "truncated_squared": lambda x: (1 - x).relu() ** 2,
    "savage": lambda x: (-x).sigmoid() ** 2,
}
