"""Objectives: what is wanted. One loss a file; each is its own configuration and never divides by a count.

`(Outputs, Batch) -> (loss, metrics)`: the loss is per token (B, L) or per group (G,), as `reduction` says; a metric is a
(sum, count) pair that adds up over micro-batches and ranks.
"""

from typing import Annotated, ClassVar, Protocol

import torch
from pydantic import Field

from trivium.core.types import Metrics
from trivium.learn.objectives.cross_entropy import CrossEntropy
from trivium.learn.objectives.dpo import DPO
from trivium.learn.objectives.policy_gradient import PolicyGradient
from trivium.learn.objectives.ranking import Ranking
from trivium.learn.objectives.value import Value
from trivium.learn.reduce import Reduction
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


class Objective(Protocol):
    """What Trainer asks of a loss."""

    reads_entropy: ClassVar[bool]

    @property
    def needs(self) -> tuple[str, ...]: ...

    @property
    def reduction(self) -> Reduction: ...

    def __call__(self, out: Outputs, batch: Batch) -> tuple[torch.Tensor, Metrics]: ...


PreferenceObjective = Annotated[DPO, Field(discriminator=None)]

__all__ = ["DPO", "CrossEntropy", "Objective", "PolicyGradient", "PreferenceObjective", "Ranking", "Value"]
