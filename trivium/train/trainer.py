"""A model, what is wanted of it, and one update."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trivium.core.errors import ConfigError, DataError
from trivium.core.types import COLUMN_WRITERS
from trivium.data.share import EXACT_SHARES, cut
from trivium.learn.objectives import Objective
from trivium.learn.objectives.policy import PolicyLoss
from trivium.learn.reduce import Counts, measure, reduce
from trivium.learn.schedules import Schedule
from trivium.nn.batch import Batch
from trivium.nn.kernels import preferred_attention
from trivium.nn.model import Model
from trivium.nn.outputs import Outputs
from trivium.train.beside import Beside
from trivium.train.exact import GradientTree, tree_sum
from trivium.train.parallel import (
    by_mesh,
    equal_batches,
    full_tensor,
    in_context,
    is_parallel,
    like,
    rank_and_size,
    recompute_blocks,
    sizes,
    sum_copies,
    sum_over_ranks,
    total_norm,
)
from trivium.train.spread import Spread, Work, spread_out


class Loss(nn.Module):
    """The module that is wrapped, sharded and trained: (batch, counts) -> (loss, metrics); or (batch, reading) -> what that finds.

    Objective and reduction run inside its forward, so the hooks that gather sharded weights see all of the work.
    """

    def __init__(self, model: Model, objective: Objective, temperature: float = 1.0, reference: Model | None = None) -> None:
        super().__init__()
        self.model, self.objective, self.temperature, self.reference = model, objective, temperature, reference
        recompute_blocks(self)

    def forward(self, batch: Batch, counts: Counts | Work, beside: Beside | None = None) -> Any:
        """Loss of this micro-batch, a part of the step's, and the sums of each metric. beside: what the batch is for, if not it.

        Instead of counts a function of the model and the batch: what it gives.
        """
        model = in_context(self.model, batch)
        if not isinstance(counts, Counts):
            return counts(model, batch)
        objective, temperature = (self.objective, self.temperature) if beside is None else (beside.objective, 1.0)
        with_entropy = isinstance(objective, PolicyLoss)  # the only losses that read it
        out = Outputs(model, batch, temperature=temperature, with_entropy=with_entropy, reference=self.reference)
        loss, metrics = objective(out, batch)
        total = reduce(loss, batch, counts, objective.reduction)
        if not total.requires_grad:  # nothing counts: keep the graph, so that every rank runs the same collectives
            total = total + 0.0 * out.hidden_BLD.sum()
        return total, metrics


class Trainer:
    """One update from micro-batches. Nothing in it depends on what is trained.

    name: prefix of its metrics and of its tensors in a checkpoint. steps: the length of the run, for the schedule.
    max_length: the constant of the reduction `length`. reference: a frozen model, for objectives that compare whole
    distributions. beside: what each update learns as well. With several ranks it trains a copy, whose weights are sharded, each rank
    passes its own micro-batches, and every rank gets the metrics of all; the given model is then read in parts (train/spread.py), and whole
    from `model.gather()`, which gives it the weights of now, to `let_go`. is_exact: nothing is sharded, and the bits do not depend on the
    number of ranks (train/exact.py); micro-batches then come in `shares` parts.
    """

    def __init__(
        self, name: str, model: Model, objective: Objective, optimizers: Sequence[torch.optim.Optimizer], *,
        schedule: Schedule, steps: int, max_grad_norm: float = 1.0, temperature: float = 1.0, max_length: int = 0,
        reference: Model | None = None, beside: Beside | None = None, is_exact: bool = False,
    ) -> None:  # fmt: skip
        self.name, self.model, self.optimizers = name, model, list(optimizers)
        if objective.reduction == "length" and max_length < 1:
            raise ConfigError("the reduction 'length' divides by a constant length; say which with max_length (max_new_tokens is usual)")
        found = sizes()
        if is_exact:
            found.check_exact()
        self.loss, self.whole = Loss(model, objective, temperature, reference), model
        self.spread: Spread | None = None
        self.shares = EXACT_SHARES // rank_and_size()[1] if is_exact else 1
        self.is_exact = is_exact
        if is_parallel() and not is_exact:
            self.spread = spread_out(self.loss, model, self.optimizers)
            self.loss, self.model = self.spread.loss, self.spread.model
        else:
            model.gather()
        self.objective, self.beside = objective, beside
        self.schedule, self.steps, self.max_grad_norm, self.max_length = schedule, steps, max_grad_norm, max_length
        self._peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]

    def step(self, n: int, batches: Sequence[Batch], sizes: Sequence[int] = ()) -> dict[str, float]:
        """Update number n. Weights stay as they are when the gradient is not finite; the metrics then say `skipped`.

        sizes: how many of the micro-batches are in each part, if it is exact.
        """
        total, report = self._backward(n, batches, sizes)
        norm = self._clip()
        factor = self.schedule(n, self.steps)
        report |= {"grad_norm": float(norm), "lr_factor": factor}
        if not torch.isfinite(norm) or not torch.isfinite(total):
            self._zero_grad()
            return report | {"skipped": 1.0}
        self._update(factor)
        self.let_go()
        return report

    def gradients(self, batches: Sequence[Batch], n: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and whole gradients of step n without the update; for tests and studies."""
        total, _ = self._backward(n, batches, [len(batches)])
        return total, {name: full_tensor(parameter.grad) for name, parameter in self.model.named_parameters() if parameter.grad is not None}

    def _backward(self, n: int, batches: Sequence[Batch], sizes: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
        """Gradients of all micro-batches of all ranks; their loss, and the metrics."""
        self._check_columns(batches)
        self._zero_grad()
        total, report = self._add_gradients(batches, sizes)
        if self.beside is not None:
            more, metrics = self._add_gradients(*self.beside.batches(n, self.shares), self.beside)
            total = total + self.beside.coef * more
            report |= {f"{self.beside.name}_{name}": value for name, value in metrics.items()} | {"loss": float(total)}
        return total, report

    def _add_gradients(
        self, batches: Sequence[Batch], sizes: Sequence[int], beside: Beside | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Add the gradients of one objective; its loss, and its metrics."""
        parts = cut(batches, sizes) if self.is_exact else [batches]
        add: Callable[[Sequence[Tensor]], Tensor] = tree_sum if self.is_exact else lambda own: sum_over_ranks(own[0])
        counts = Counts(*add([Counts.of(part).tensor() for part in parts]).tolist()[:3], max_length=self.max_length)
        tree = GradientTree(self.model) if self.is_exact else None
        found = []
        with preferred_attention(self.model.device):
            for part in parts:
                found.append(self._add_part(part if self.is_exact else equal_batches(part), counts, beside))
                if tree is not None:
                    tree.take()
        if tree is not None:
            tree.give_back()
        total, names = add([total for total, _ in found]), list(found[0][1])
        widths = [len(sums) for sums in found[0][1].values()]
        whole = add([torch.cat(list(sums.values())) for _, sums in found]).cpu().split(widths) if names else ()
        measured = {name: measure(sums.tolist()) for name, sums in zip(names, whole, strict=True)}
        return total, {"loss": float(total), **{name: value for name, value in measured.items() if value is not None}}

    def _add_part(self, batches: Sequence[Batch], counts: Counts, beside: Beside | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Add the gradients of some micro-batches; their loss, and the sums of each metric."""
        device = self.model.device
        wide = torch.float32 if device.type == "mps" else torch.float64  # which has no more
        total, sums = torch.zeros((), device=device), {}
        for number, batch in enumerate(batches, 1):
            sum_copies(self.loss, is_last=number == len(batches))
            loss, metrics = self.loss(batch.to(device), counts, beside)
            (loss if beside is None else beside.coef * loss).backward()
            total = total + loss.detach()
            for name, each in metrics.items():
                sums[name] = sums.get(name, 0.0) + torch.stack(each).detach().to(wide)
        return total, sums

    def _check_columns(self, batches: Sequence[Batch]) -> None:
        for column in self.objective.needs:
            if any(column not in batch.columns for batch in batches if batch.num_sequences):
                there = ", ".join(sorted(batches[0].columns)) or "none"
                writer = COLUMN_WRITERS.get(column, "its source")
                raise DataError(
                    f"{type(self.objective).__name__} needs the column '{column}', the batch has: {there}; it is written by {writer}"
                )

    def _clip(self) -> Tensor:
        norm = total_norm(parameter.grad for parameter in self.model.parameters() if parameter.grad is not None)
        for members in by_mesh(self.model.parameters()):
            torch.nn.utils.clip_grads_with_norm_(members, self.max_grad_norm, norm)
        return norm

    def _update(self, factor: float) -> None:
        for optimizer, peaks in zip(self.optimizers, self._peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
            optimizer.step()
        self._zero_grad()

    def _zero_grad(self) -> None:
        """Forget the gradients. Those of a CUDA graph are added to memory of our own: the next replay overwrites what it returned."""
        if not self.model.is_replayed:
            for parameter in self.model.parameters():
                parameter.grad = None
            return
        for parameter in self.model.parameters():
            if parameter.requires_grad and parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
        torch._foreach_zero_([parameter.grad for parameter in self.model.parameters() if parameter.grad is not None])

    # --- what a checkpoint holds

    def tensors(self) -> dict[str, Tensor]:
        """Trained weights, buffers and optimizer state by name, as they are: spread over the ranks, and going to change.

        Frozen weights are not in it.
        """
        names: dict[Tensor, str] = {parameter: name for name, parameter in self.model.named_parameters()}
        tensors = {f"model.{name}": tensor for name, tensor in _weights(self.model).items()}
        for optimizer in self.optimizers:
            for parameter, slots in optimizer.state.items():
                tensors |= {f"optimizer.{slot}.{names[parameter]}": value for slot, value in slots.items()}
        return tensors

    def state(self) -> dict[str, Tensor]:
        """The same, whole on every rank, on the CPU, ready for safetensors. A collective."""
        return {name: full_tensor(tensor.detach()).cpu().contiguous() for name, tensor in self.tensors().items()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        with torch.no_grad():
            for name, weight in _weights(self.model).items():
                weight.copy_(like(tensors[f"model.{name}"], weight))
        self.let_go()
        parameters = dict(self.model.named_parameters())
        names = {parameter: name for name, parameter in parameters.items()}
        slots: dict[str, dict[str, Tensor]] = {}
        for full, tensor in tensors.items():
            if full.startswith("optimizer."):
                _, slot, name = full.split(".", 2)
                slots.setdefault(name, {})[slot] = like(tensor.to(parameters[name].device, copy=True), parameters[name])
        for optimizer in self.optimizers:
            optimizer.state.clear()
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if names[parameter] in slots:
                        optimizer.state[parameter] = slots[names[parameter]]

    def let_go(self) -> None:
        """Free the whole copy, where weights are spread, until somebody gathers it: they are going to change."""
        if self.spread is not None:
            self.spread.let_go(self.whole)


def _weights(model: Model) -> dict[str, Tensor]:
    """Every trained parameter and buffer once; `state_dict` would hold tied weights twice, which safetensors refuses."""
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    buffers = {name: tensor for name, tensor in model.state_dict(keep_vars=True).items() if not isinstance(tensor, nn.Parameter)}
    return trained | buffers
