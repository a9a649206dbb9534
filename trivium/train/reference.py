"""A reference that follows the policy: its log-probs are read when a step is served, and its weights are part of a checkpoint."""

from collections.abc import Mapping

import torch
from torch import Tensor

from trivium.core.types import Group
from trivium.data.sources import Source
from trivium.learn.reference_update import ReferenceUpdate
from trivium.nn.adapter import frozen_reference
from trivium.nn.model import Model
from trivium.train.annotate import annotate, logprobs
from trivium.train.spread import whole_weights


class MovingReference:
    """A source that adds `ref_logprobs` to the groups of another one, under a reference that moves as `update` says.

    Steps must be asked for in order, by every rank: each has a whole reference, and gathers what the policy has become. The policy is
    trained in full: its weights are those of the reference, one by one.
    """

    name = "reference"

    def __init__(self, update: ReferenceUpdate, source: Source, policy: Model, *, rows: int, length: int) -> None:
        self.update, self.source, self.policy, self.rows, self.length = update, source, policy, rows, length
        self.model = frozen_reference(policy)

    def __call__(self, step: int) -> list[Group]:
        """The groups of step n; the reference moves before those of steps that are multiples of `every`."""
        if step and step % self.update.every == 0:
            self._move()
        return annotate(list(self.source(step)), self.model, "ref_logprobs", logprobs, rows=self.rows, length=self.length)

    def _move(self) -> None:
        ours = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, weight in whole_weights(self.policy):
                ours[name].lerp_(weight, self.update.share)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint holds of it."""
        return {name: weight.detach() for name, weight in self.model.named_parameters()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                weight.copy_(tensors[name])
