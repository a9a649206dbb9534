"""IPO: preference optimisation that stops pushing once a pair is far enough apart."""

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
class IPO:
    """Squared distance of the log-ratio margin of a pair from its target, 1 / (2 beta).

    Azar et al. 2023, arXiv:2310.12036, eq. 17; beta is the paper's tau. Log-ratios are summed over tokens, as in the authors'
    derivation (some libraries average them, which is another loss). Groups are pairs, the better one first.
    """

    kind: Literal["ipo"] = "ipo"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs",)
    reduction: ClassVar[Reduction] = "group"
    reads_entropy: ClassVar[bool] = False
    beta: float = Field(default=0.1, gt=0)  # small: a large target margin

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        better_G, worse_G = batch.pairs(batch.sum(out.logprobs_BL - batch["ref_logprobs"]))
        margin_G = better_G - worse_G
        pairs = margin_G.new_tensor(batch.num_groups)
        right = (margin_G > 0).float() + 0.5 * (margin_G == 0)
        return (margin_G - 1 / (2 * self.beta)) ** 2, {"accuracy": (right.sum(), pairs), "margin": (margin_G.sum(), pairs)}
