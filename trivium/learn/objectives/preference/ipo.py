"""IPO: preference optimisation that stops pushing once a pair is far enough apart."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from trivium.core.config import component
from trivium.core.types import Metrics
from trivium.learn.objectives.preference.pairs import read_pairs
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


@component
class IPO:
    """Squared distance of the log-ratio margin of a pair from its target, 1 / (2 beta).

    Azar et al. 2023, arXiv:2310.12036, eq. 17; beta is the paper's tau. Log-ratios are summed over tokens, as in the authors'
    derivation; is_per_token divides each by the length of its answer first, which is another loss (TRL's). Groups are pairs.
    """

    kind: Literal["ipo"] = "ipo"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs",)
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=0.1, gt=0)  # small: a large target margin
    is_per_token: bool = False

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch)
        margin = pairs.margin_a_token if self.is_per_token else pairs.margin
        return (margin - 1 / (2 * self.beta)) ** 2, pairs.metrics(margin)
