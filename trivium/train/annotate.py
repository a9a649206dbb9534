"""What a frozen model says about examples, written into them as columns: reference log-probs, values, scores."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from trivium.core.types import Example, Group
from trivium.data.pack import pack
from trivium.data.sources import Source
from trivium.nn.batch import Batch
from trivium.nn.model import Model
from trivium.nn.outputs import Outputs
from trivium.train.ranks import Share, alone

OfStep = Callable[[Sequence[Group], Callable[[Sequence[Example]], list[np.ndarray]]], list[Group]]
Reading = Callable[[Outputs, Batch], Tensor]  # (B, L)
Tell = Callable[[int], object]  # hears how many examples have been read


def nobody(_: int) -> None:
    """Hears it and does nothing."""


def column_of(
    model: Model, examples: Sequence[Example], read: Reading, *, rows: int, length: int, temperature: float = 1.0,
    with_entropy: bool = False, tell: Tell = nobody,
) -> list[np.ndarray]:  # fmt: skip
    """For each example what `read` gives at its tokens, (L,) float32; no gradients are kept. Of weights that ranks train, those of now.

    read: for example `logprobs`, or `entropies` with with_entropy=True. tell: how far it is, such as `Progress.update`.
    """
    columns: list[np.ndarray] = []
    model.gather()
    with torch.no_grad():
        for batch in pack([(item,) for item in examples], rows=rows, length=length):
            there = batch.to(model.device)
            flat = read(Outputs(model, there, temperature=temperature, with_entropy=with_entropy), there).flatten().cpu().numpy()
            for end in batch.last_N.tolist():
                size = len(examples[len(columns)].tokens)
                columns.append(flat[end + 1 - size : end + 1].copy())
            tell(len(columns))
    return columns


class StepColumns:
    """A source that hands the groups of a step to an objective which looks at all of them at once, before the step."""

    def __init__(self, source: Source, of_step: OfStep, read: Callable[[Sequence[Example]], list[np.ndarray]]) -> None:
        self.source, self.of_step, self.read = source, of_step, read

    def __call__(self, step: int) -> list[Group]:
        """The groups of step n with the columns that depend on the policy as `read` finds it; costs a forward pass."""
        return self.of_step(self.source(step), self.read)


def annotate(
    groups: Sequence[Group], model: Model, column: str, read: Reading, *, rows: int, length: int, temperature: float = 1.0,
    share: Share = alone, tell: Tell = nobody,
) -> list[Group]:  # fmt: skip
    """The same groups with one more column. temperature: the sampler's, when the column is compared with its log-probs.

    share: how several ranks share the work; each tells of its own part.
    """
    flat = [item for group in groups for item in group]
    model.gather()  # by all ranks: one that has no example to read does not come to it
    values = iter(share(lambda own, _: column_of(model, own, read, rows=rows, length=length, temperature=temperature, tell=tell), flat))
    return [tuple(item.with_columns(**{column: next(values)}) for item in group) for group in groups]


def final_scores(model: Model, examples: Sequence[Example], *, rows: int, length: int, tell: Tell = nobody) -> np.ndarray:
    """A reward model's score of each example, read at its last token; (N,) float64."""
    columns = column_of(model, examples, scores, rows=rows, length=length, tell=tell)
    return np.array([float(column[-1]) for column in columns])


def logprobs(out: Outputs, _: Batch) -> Tensor:
    """The reading `annotate` needs for reference log-probs."""
    return out.logprobs_BL


def entropies(out: Outputs, _: Batch) -> Tensor:
    """The reading for the entropy of the distribution each token was drawn from."""
    return out.entropy_BL


def scores(out: Outputs, _: Batch) -> Tensor:
    """The reading of a scalar head at every token."""
    return out.scores_BL


def values(out: Outputs, _: Batch) -> Tensor:
    """The reading for a critic's estimates."""
    return out.values_BL
