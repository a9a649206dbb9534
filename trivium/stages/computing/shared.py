"""What the ranks of a run share out among them while a policy learns: its answers, and what everyone says of these.

Which rank does what depends on the numbers of the items alone, and what a request is answered on its seed and number, so any number of
ranks finds the same; where the machine is to be exact, each rank does all of it, since a model reads a text with other neighbours a
little differently.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trivium.core.run import Run
from trivium.core.types import Example
from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling
from trivium.nn.model import Model
from trivium.stages.computing.models import machine_of
from trivium.train.annotate import share_for
from trivium.train.ranks import Share, alone, together


def share_of(run: Run) -> Share:
    """How the ranks of a run share work that gives something for each item."""
    return alone if machine_of(run).exact else together


@dataclass(frozen=True, slots=True)
class SharedEngine:
    """An engine whose requests the ranks share out; every rank gets all answers. It speaks with the weights of now."""

    engine: Engine
    share: Share

    def generate(self, prompts: Sequence[np.ndarray], sampling: Sampling, *, seed: int, purpose: str, step: int = 0) -> list[Example]:
        """One answer to each prompt, see Engine."""
        self.engine.model.gather()

        def answered(own: Sequence[Any], numbers: range) -> list[Example]:
            return self.engine.generate(own, sampling, seed=seed, purpose=purpose, step=step, numbers=numbers)

        return self.share(answered, prompts)


def shared_column(
    share: Share, model: Model, read: Callable[[Sequence[Example]], list[np.ndarray]]
) -> Callable[[Sequence[Example]], list[np.ndarray]]:
    """The same reading of answers by a model, shared out."""

    def column(answers: Sequence[Example]) -> list[np.ndarray]:
        return share_for(model, share)(lambda own, _: read(own), answers)

    return column


def shared_scores(share: Share, read: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The same scoring of answers, (N,), shared out; read: (judge, answers)."""

    def scored(judge: Any, answers: Sequence[Example]) -> np.ndarray:
        own_share = share_for(judge.model, share)
        found = own_share(lambda own, _: [np.array([score]) for score in read(judge, own)], answers)
        return np.concatenate(found) if found else np.zeros(0)

    return scored
