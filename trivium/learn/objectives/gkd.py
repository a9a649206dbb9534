"""GKD: what a teacher would say next, all of it, is learned where the policy itself has got to."""

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
class GKD:
    """The exact divergence from the teacher at every token that counts; beta 0 is KL(teacher || policy), 1 KL(policy || teacher).

    Agarwal et al. 2023, arXiv:2306.13649, eq. 2, on the policy's own answers alone (lambda 1 there; the teacher or people write the
    rest: `replay`). Between 0 and 1 it is the generalised Jensen-Shannon divergence (nn/divergence.py). The slope stays within each
    token: what a token does to the later ones is left out, as there. The trainer's reference is the teacher.
    """

    kind: Literal["gkd"] = "gkd"
    needs: ClassVar[tuple[str, ...]] = ()
    beta: float = Field(default=1.0, ge=0, le=1)
    reduction: Reduction = "token"

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """Loss of every token, (B, L)."""
        del batch
        return out.divergence(self.beta), {}
