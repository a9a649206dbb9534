"""A model of whose weights each rank has a part: who reads it, and who has a whole copy of it.

What asks it for numbers of examples (held-out loss, reference log-probs, scores, a critic's values) reads the parts, as training does:
each rank does a share of the examples, and gathers the weights of one block at a time. A whole copy is made for two only: for what samples
with an engine of ours, on the device; and for rank 0 when it writes a model, on the host, one weight after the other. Between that the
model that readers know holds one number of each weight.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from trivium.nn.batch import Batch
from trivium.nn.model import Model
from trivium.nn.outputs import Network
from trivium.nn.promised import Promised, hollow
from trivium.nn.transformer import Transformer
from trivium.train.parallel import full_tensor, in_context, like, shard

Work = Callable[[Network, Batch], Tensor]


class Spread:
    """The weights of a model that several ranks train or read in parts. loss: what is wrapped, with the copy of the model that has them.

    Everything here but `let_go` is a collective: every rank calls it, with the same examples.
    """

    def __init__(self, loss: nn.Module, model: Model, device: torch.device) -> None:
        self.loss, self.model, self.device = loss, model, device
        self.is_held = True  # whether there is a whole copy

    def __deepcopy__(self, memo: dict[int, object]) -> None:
        """What is copied from a whole copy, such as a reference, stays as it is."""
        return

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Each trained weight by name, whole while it is at hand."""
        for name, weight in _own(self.model).items():
            yield name, full_tensor(weight.detach())

    def gather(self, model: Model) -> None:
        """Give the whole copy the weights of now, in memory of their own."""
        if not self.is_held:
            self._fill(model, self.device)

    def gather_on_host(self, model: Model, *, is_needed: bool) -> None:
        """The same on the host, for those who need them."""
        self._fill(model, "cpu" if is_needed else None)

    def let_go(self, model: Model) -> None:
        """Free the trained weights of the whole copy until they are gathered again: nobody reads it while they change.

        Their shapes stay. Each of their numbers is the same NaN, so whoever forgets to gather does not go unseen.
        """
        if self.is_held:
            for weight in _own(model).values():
                weight.data = hollow(weight.shape, self.device, weight.dtype)
            self.is_held = False

    def read(self, work: Work, batch: Batch) -> Tensor:
        """What `work` finds in the model for a batch of this rank's, without gradients."""
        is_compiled = any(module.is_compiled for module in self.loss.modules() if isinstance(module, Transformer))
        # what is read has many shapes, and each would be compiled again
        with torch.no_grad(), torch.compiler.set_stance("force_eager") if is_compiled else nullcontext():
            found = self.loss(batch, work)
        for module in self.loss.modules():  # the outermost does not by itself, and would then miss the next update
            if isinstance(module, FSDPModule):
                module.reshard()
        return found

    def _fill(self, model: Model, device: torch.device | str | None) -> None:
        ours, self.is_held = _own(model), True
        for name, weight in self.weights():
            if device is not None:
                ours[name].data = weight.to(device, copy=True)


class _Read(nn.Module):
    """What is wrapped of a model that is only read."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, work: Work) -> Tensor:
        """What `work` finds."""
        return work(in_context(self.model, batch), batch)


def read_in_parts(model: Model) -> Model:
    """The same model, which is only read, and of which each rank has a part from now on. A collective."""
    spread_out(_Read(model), model)
    return model


def spread_out(wrapped: nn.Module, model: Model, optimizers: Sequence[torch.optim.Optimizer] = ()) -> Spread:
    """Cut a copy of what is wrapped around the model into parts, of which each rank has one; the model is then read in these.

    optimizers: of its weights, which update the parts from now on. A collective.
    """
    promised, model.source = (model.source if isinstance(model.source, Promised) else None), None
    copied = _copied(wrapped, optimizers)
    shard(copied, optimizers, promised)
    ours = copied.get_submodule("model")
    assert isinstance(ours, Model)
    model.source = found = Spread(copied, ours, model.device)
    found.let_go(model)
    return found


def spread_of(model: Model) -> Spread | None:
    """Who has the weights of a model that several ranks train in parts; None of every other model."""
    return model.source if isinstance(model.source, Spread) else None


def trained(model: Model) -> dict[str, nn.Parameter]:
    """The weights of a model that are trained, as they are: spread, if ranks have parts of them."""
    found = spread_of(model)
    return _own(model if found is None else found.model)


def whole_weights(model: Model) -> Iterator[tuple[str, Tensor]]:
    """Each of them by name, whole while it is at hand. A collective."""
    found = spread_of(model)
    return iter(_own(model).items()) if found is None else found.weights()


def put(model: Model, weights: Mapping[str, Tensor]) -> None:
    """Give a model trained weights: whole ones, or spread as its own are."""
    with torch.no_grad():
        for name, weight in trained(model).items():
            if name in weights:
                weight.copy_(like(weights[name], weight))
    if (found := spread_of(model)) is not None:
        found.let_go(model)


def _own(model: Model) -> dict[str, nn.Parameter]:
    """The weights that are cut: those that are trained, and of a model that is only read all; what is frozen below an adapter is whole."""
    learning = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    return learning or dict(model.named_parameters())


def _copied(loss: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> nn.Module:
    """A copy of `loss`, whose weights the optimizers update from now on; until it is cut they are in the same memory.

    Buffers stay in the same memory: what is set in those of one (a score's gain) is set in the other.
    """
    same: dict[int, Tensor] = {id(parameter): nn.Parameter(parameter.detach(), parameter.requires_grad) for parameter in loss.parameters()}
    same |= {id(buffer): buffer for buffer in loss.buffers()}
    copied = copy.deepcopy(loss, same)
    names, ours = {parameter: name for name, parameter in loss.named_parameters()}, dict(copied.named_parameters())
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["params"] = [ours[names[parameter]] for parameter in group["params"]]
    return copied
