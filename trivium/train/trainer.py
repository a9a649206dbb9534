"""A model, what is wanted of it, and one update."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trivium.core.errors import DataError
from trivium.core.types import COLUMN_WRITERS
from trivium.learn.objectives import Objective
from trivium.learn.reduce import Counts, reduce
from trivium.learn.schedules import Schedule
from trivium.nn.batch import Batch
from trivium.nn.model import Model
from trivium.nn.outputs import Outputs


class Loss(nn.Module):
    """The module that is wrapped, sharded and trained: (batch, counts) -> (loss, metrics).

    Objective and reduction run inside its forward, so the hooks that gather sharded weights see all of the work.
    """

    def __init__(self, model: Model, objective: Objective, temperature: float = 1.0) -> None:
        super().__init__()
        self.model, self.objective, self.temperature = model, objective, temperature

    def forward(self, batch: Batch, counts: Counts) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
        out = Outputs(self.model, batch, temperature=self.temperature, with_entropy=self.objective.reads_entropy)
        loss, metrics = self.objective(out, batch)
        total = reduce(loss, batch, counts, self.objective.reduction)
        if not total.requires_grad:  # nothing counts: keep the graph, so that every rank runs the same collectives
            total = total + 0.0 * out.hidden_BLD.sum()
        return total, metrics


class Trainer:
    """One update from micro-batches. Nothing in it depends on what is trained.

    name: prefix of its metrics and of its tensors in a checkpoint. steps: the length of the run, for the schedule.
    """

    def __init__(
        self, name: str, model: Model, objective: Objective, optimizers: Sequence[torch.optim.Optimizer], *,
        schedule: Schedule, steps: int, max_grad_norm: float = 1.0, temperature: float = 1.0, max_length: int = 0,
    ) -> None:  # fmt: skip
        self.name, self.model, self.optimizers = name, model, list(optimizers)
        self.loss = Loss(model, objective, temperature)
        self.schedule, self.steps, self.max_grad_norm, self.max_length = schedule, steps, max_grad_norm, max_length
        self._peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]

    def step(self, n: int, batches: Sequence[Batch]) -> dict[str, float]:
        """Update number n. Weights stay as they are when the gradient is not finite; the metrics then say `skipped`."""
        self._check_columns(batches)
        counts = self._global_counts(batches)
        self._zero_grad()
        total, sums = torch.zeros(()), {}
        for batch in batches:
            loss, metrics = self.loss(batch, counts)
            loss.backward()
            total = total + loss.detach()
            for key, (value, count) in metrics.items():
                old_value, old_count = sums.get(key, (0.0, 0.0))
                sums[key] = (old_value + value.detach(), old_count + count.detach())
        norm = self._clip()
        factor = self.schedule(n, self.steps)
        report = {"loss": float(total), **{key: float(value) / max(float(count), 1e-9) for key, (value, count) in sums.items()}}
        report |= {"grad_norm": float(norm), "lr_factor": factor}
        if not torch.isfinite(norm) or not torch.isfinite(total):
            self._zero_grad()
            return report | {"skipped": 1.0}
        self._update(factor)
        return report

    def gradients(self, batches: Sequence[Batch]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and gradients of a step without the update; for tests and studies."""
        counts = self._global_counts(batches)
        self._zero_grad()
        total = torch.zeros(())
        for batch in batches:
            loss, _ = self.loss(batch, counts)
            loss.backward()
            total = total + loss.detach()
        return total, {name: parameter.grad for name, parameter in self.model.named_parameters() if parameter.grad is not None}

    def _check_columns(self, batches: Sequence[Batch]) -> None:
        for column in self.loss.objective.needs:
            if any(column not in batch.columns for batch in batches if batch.num_sequences):
                there = ", ".join(sorted(batches[0].columns)) or "none"
                raise DataError(f"{type(self.loss.objective).__name__} needs the column '{column}', the batch has: {there}; it is written by {COLUMN_WRITERS.get(column, 'its source')}")

    def _global_counts(self, batches: Sequence[Batch]) -> Counts:
        counts = Counts.of(batches, self.max_length)
        if not dist.is_initialized():
            return counts
        summed = counts.tensor()
        dist.all_reduce(summed)
        return Counts(*summed.tolist()[:3], max_length=self.max_length)

    def _clip(self) -> Tensor:
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if dist.is_initialized() and isinstance(norm, torch.distributed.tensor.DTensor):
            norm = norm.full_tensor()
        torch.nn.utils.clip_grads_with_norm_(self.model.parameters(), self.max_grad_norm, norm)
        return norm

    def _update(self, factor: float) -> None:
        for optimizer, peaks in zip(self.optimizers, self._peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
            optimizer.step()
        self._zero_grad()

    def _zero_grad(self) -> None:
        for parameter in self.model.parameters():
            parameter.grad = None

    # --- what a checkpoint holds

    def state(self) -> dict[str, Tensor]:
        """Weights and optimizer state by name, ready for safetensors."""
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for optimizer in self.optimizers:
            for parameter, slots in optimizer.state.items():
                tensors |= {f"optimizer.{slot}.{names[parameter]}": value for slot, value in slots.items()}
        return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `state` gave."""
        self.model.load_state_dict({name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")})
        parameters = dict(self.model.named_parameters())
        slots: dict[str, dict[str, Tensor]] = {}
        for full, tensor in tensors.items():
            if full.startswith("optimizer."):
                _, slot, name = full.split(".", 2)
                slots.setdefault(name, {})[slot] = tensor.clone()
        for optimizer in self.optimizers:
            optimizer.state.clear()
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    name = next(name for name, candidate in parameters.items() if candidate is parameter)
                    if name in slots:
                        optimizer.state[parameter] = slots[name]
