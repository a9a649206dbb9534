"""f-DPO: DPO under another divergence from the reference than the reverse KL."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from trivium.core.config import component, is_set
from trivium.core.types import Metrics
from trivium.learn.objectives.preference.pairs import logsigmoid, read_pairs
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs

MAX_EXPONENT = 40.0  # e^40 is far beyond any margin that still has a slope, and its square fits in fp32


@component
class FDPO:
    """-log sigmoid(beta (g(log-ratio of the better) - g(log-ratio of the worse))), g(r) = f'(e^r) up to a constant.

    Wang et al. 2023, arXiv:2309.16240, eq. 10 and table 1. forward_kl: g = -e^-r. js: g = log sigmoid(r). alpha: g = -e^(-alpha r) / alpha,
    from the reverse KL (alpha near 0, g = r: DPO itself) to the forward KL (alpha near 1). TRL's f_alpha_divergence_coef is 1 - alpha.
    """

    kind: Literal["fdpo"] = "fdpo"
    needs: ClassVar[tuple[str, ...]] = ("ref_logprobs",)
    reduction: ClassVar[Reduction] = "group"
    beta: float = Field(default=0.1, gt=0)  # see DPO
    divergence: Literal["forward_kl", "js", "alpha"] = "js"
    alpha: float = Field(default=0.5, gt=0, lt=1)

    def __post_init__(self) -> None:
        if self.divergence != "alpha" and is_set(self, "alpha"):
            raise ValueError(f"alpha is {self.alpha:g}, but divergence={self.divergence} has none; leave it out, or take divergence=alpha")

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every pair, (G,)."""
        pairs = read_pairs(out, batch)
        logit = self.beta * (self._slope(pairs.chosen_log_ratio) - self._slope(pairs.rejected_log_ratio))
        return -logsigmoid(logit), pairs.metrics(logit)

    def _slope(self, log_ratio: torch.Tensor) -> torch.Tensor:
        if self.divergence == "js":
            return logsigmoid(log_ratio)
        power = -1.0 if self.divergence == "forward_kl" else -self.alpha
        return (power * log_ratio).clamp(max=MAX_EXPONENT).exp() / power
