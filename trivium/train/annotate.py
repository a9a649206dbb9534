"""What a frozen model says about examples, written into them as columns: reference log-probs, values, scores."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from trivium.core.types import Example, Group
from trivium.data.pack import pack
from trivium.data.sources import Source
from trivium.nn.batch import Batch
from trivium.nn.model import Model
from trivium.nn.outputs import Network, Outputs
from trivium.train.parallel import equal_batches
from trivium.train.ranks import Share, alone, in_step
from trivium.train.spread import spread_of

OfStep = Callable[[Sequence[Group], Callable[[Sequence[Example]], list[np.ndarray]]], list[Group]]
Reading = Callable[[Outputs, Batch], Tensor]  # (B, L)
Tell = Callable[[int], object]  # hears how many examples have been read


def nobody(_: int) -> None:
    """Hears it and does nothing."""


def column_of(
    model: Model, examples: Sequence[Example], read: Reading, *, rows: int, length: int, temperature: float = 1.0,
    with_entropy: bool = False, tell: Tell = nobody,
) -> list[np.ndarray]:  # fmt: skip
    """For each example what `read` gives at its tokens, (L,) float32; no gradients are kept. Of weights that ranks train, those of now:
    a collective then, of which each rank does a part (train/spread.py).

    read: for example `logprobs`, or `entropies` with with_entropy=True. tell: how far it is, such as `Progress.update`.
    """
    spread = spread_of(model)

    def work(network: Network, batch: Batch) -> Tensor:
        return read(Outputs(network, batch, temperature=temperature, with_entropy=with_entropy), batch)

    def of(own: Sequence[Example]) -> list[np.ndarray]:
        batches = pack([(item,) for item in own], rows=rows, length=length)
        if spread is not None:
            return _columns(own, equal_batches(batches), partial(spread.read, work), model.device, tell)
        return _columns(own, batches, partial(work, model), model.device, tell)

    if spread is not None:
        return in_step(of, examples)
    model.gather()
    return of(examples)


def _columns(
    examples: Sequence[Example], batches: Sequence[Batch], said: Callable[[Batch], Tensor], device: torch.device, tell: Tell
) -> list[np.ndarray]:
    columns: list[np.ndarray] = []
    with torch.no_grad():
        for batch in batches:
            flat = said(batch.to(device)).flatten().cpu().numpy()
            for end in batch.last_N.tolist():
                size = len(examples[len(columns)].tokens)
                columns.append(flat[end + 1 - size : end + 1].copy())
            tell(len(columns))
    return columns


def share_for(model: Model, share: Share) -> Share:
    """How ranks share the reading of a model: as `share` has it, but if they have parts of its weights, they share it by themselves."""
    return share if spread_of(model) is None else alone


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
    share = share_for(model, share)
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
