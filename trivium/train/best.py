"""What a model is worth on held-out data, while it is trained: measured now and then, and its best weights kept if that is asked for."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from trivium.nn.model import Model
from trivium.train.parallel import like
from trivium.train.ranks import heard
from trivium.train.spread import put, trained

Measure = Callable[[], Mapping[str, Sequence[float]]]  # metric -> a value for each held-out item; their mean is the metric


class Best:
    """A hook that measures the model as it is, and a companion of checkpoints that remembers the weights it was best with.

    is_due: whether to measure after so many updates. by: the metric that decides, none if empty; sign: 1 if more of it is better, else -1.
    Of equals the earlier one is kept. A copy of the trained weights is held in memory and in every checkpoint, spread as they are.
    """

    name = "best"

    def __init__(
        self, model: Model, measures: Sequence[Measure], is_due: Callable[[int], bool], *,
        by: str = "", sign: int = 1, log: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self.model, self.measures, self.is_due, self.by, self.sign, self.log = model, measures, is_due, by, sign, log
        self.score, self.step, self.weights = -np.inf, 0, dict[str, Tensor]()

    def __call__(self, done: int, metrics: dict[str, float]) -> None:
        """Measure after update number `done`, if it is due."""
        if not self.is_due(done):
            return
        # each rank keeps its part of the best weights, so all hear which those are
        found = heard({name: float(np.mean(values)) for name, values in self.measured().items()})
        metrics |= found
        if self.log is not None:
            self.log(f"after update {done:,}: " + ", ".join(f"{name} {value:.4g}" for name, value in found.items()))
        if self.by and self.sign * found[self.by] > self.score:
            self.score, self.step = self.sign * found[self.by], done
            self.weights = {name: weight.detach().to("cpu", copy=True) for name, weight in trained(self.model).items()}

    def measured(self) -> dict[str, Sequence[float]]:
        """What all measures say of the model as it is."""
        return {name: values for measure in self.measures for name, values in measure().items()}

    def take_back(self) -> None:
        """Give the model the weights that it was best with; nothing if no metric decides, or it was never finite."""
        put(self.model, self.weights)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint holds of it."""
        return {"seen": torch.tensor([self.score, self.step], dtype=torch.float64), **{f"best.{n}": w for n, w in self.weights.items()}}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        self.score, step = tensors["seen"].tolist()
        self.step = int(step)
        ours, names = trained(self.model), [name.removeprefix("best.") for name in tensors if name.startswith("best.")]
        self.weights = {name: like(tensors[f"best.{name}"], ours[name]).to("cpu") for name in names}
