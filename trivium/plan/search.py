"""The layout for a cluster: of all that fit into memory, the one whose update is fastest; or what would fit."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import get_args

from trivium.core.errors import ConfigError
from trivium.plan.devices import Cluster, devices
from trivium.plan.memory import FREE_SHARE, Layout, Memory, Recompute, memory
from trivium.plan.shape import Shape
from trivium.plan.step import Step, efficiency, step

MOST_ROWS = 64


@dataclass(frozen=True, slots=True)
class Training:
    """What is to be trained: update_tokens in rows of seq_len. trained, copies, wholes, read_only, read_apart: see `memory`. share: of the
    data sheet's FLOP/s that is reached, 0: what is assumed for the size. margin: of the memory beside states, 0: as published runs had it.
    """

    shape: Shape
    seq_len: int
    update_tokens: int
    head_tokens: int = 0
    trained: int | None = None
    copies: int = 1
    wholes: int = 0
    read_only: int = 0
    read_apart: int = 0
    is_fp8: bool = False
    share: float = 0.0
    margin: float = 0.0

    def memory(self, layout: Layout) -> Memory:
        """Of one GPU."""
        found = memory(
            self.shape, layout, trained=self.trained, copies=self.copies, wholes=self.wholes, read_only=self.read_only,
            read_apart=self.read_apart,
        )  # fmt: skip
        return replace(found, margin=self.margin) if self.margin else found

    def step(self, layout: Layout, cluster: Cluster, accumulate: int) -> Step:
        """One update, whose last micro-batches may not be full."""
        share = self.share or efficiency(self.shape.parameters)
        found = step(self.shape, layout, cluster, share=share, accumulate=accumulate, is_fp8=self.is_fp8, trained=self.trained)
        return replace(found, tokens=min(found.tokens, max(self.update_tokens, self.seq_len)))


@dataclass(frozen=True, slots=True)
class Choice:
    """A layout with what it takes. cluster: the GPUs that have work."""

    cluster: Cluster
    layout: Layout
    memory: Memory
    step: Step

    @property
    def fits(self) -> bool:
        """With some memory left free."""
        return self.memory.total <= (1 - FREE_SHARE) * self.cluster.device.memory_bytes


def choices(training: Training, cluster: Cluster) -> Iterator[Choice]:
    """Every layout of the GPUs that an update has rows for, tensor ranks within a node."""
    rows_of_update = max(1, training.update_tokens // training.seq_len)
    most = 1 if training.is_fp8 or training.trained is not None else training.shape.most_tensor  # neither of these is cut
    tensors = [t for t in (1, 2, 4, 8) if t <= cluster.per_node and most % t == 0]
    for tensor, context, recompute in product(tensors, (1, 2, 4, 8), get_args(Recompute)):
        busy = _busy(cluster, rows_of_update * tensor * context)
        if busy.gpus % (tensor * context) or (context > 1 and training.seq_len < 16_384):
            continue
        data = busy.gpus // (tensor * context)
        for shard in {data, max(1, busy.per_node // (tensor * context))}:
            for rows in _powers(min(MOST_ROWS, max(1, rows_of_update // data))):
                layout = Layout(
                    shard=shard, replicate=data // shard, tensor=tensor, context=context, rows=rows, seq_len=training.seq_len,
                    recompute=recompute, head_tokens=training.head_tokens,
                )  # fmt: skip
                if layout.gpus != busy.gpus:
                    continue
                accumulate = -(-rows_of_update // (data * rows))
                yield Choice(busy, layout, training.memory(layout), training.step(layout, busy, accumulate))


def best(training: Training, cluster: Cluster) -> Choice:
    """The fastest that fits; of equals the one that moves least. Raises ConfigError that says what would fit."""
    found = list(choices(training, cluster))
    fitting = [choice for choice in found if choice.fits]
    if not fitting:
        raise ConfigError(_misfit(training, cluster, min(found, key=lambda choice: choice.memory.total)))
    return min(fitting, key=lambda choice: (choice.step.seconds / choice.step.tokens, choice.layout.tensor, choice.step.shared_bytes))


def _misfit(training: Training, cluster: Cluster, leanest: Choice) -> str:
    device, found = cluster.device, leanest.memory
    words = (
        f"{training.shape.parameters / 1e9:.1f}B parameters in rows of {training.seq_len:,} tokens do not fit on"
        f" {cluster.gpus} x {device.name}: {found.total / 2**30:.0f} GiB of {device.memory_gib:.0f} on each in the leanest layout"
        + (f", {found.whole / 2**30:.0f} of them while it has the weights whole" if found.whole > found.learning else "")
    )
    options = [Cluster(device, gpus, cluster.network) for gpus in _more(cluster.gpus)]
    larger = sorted((each for each in devices().values() if each.memory_gib > device.memory_gib and each.link), key=lambda each: each.price)
    options += [Cluster(each, cluster.gpus, cluster.network) for each in larger]
    ways = [f"{option.gpus} x {option.device.name}" for option in options if any(choice.fits for choice in choices(training, option))]
    if not ways:
        return f"{words}; nothing in the table does either: shorten seq_len, or train an adapter (lora)"
    return f"{words}; what would fit: {' or '.join([ways[0], *ways[-1:]] if len(ways) > 1 else ways)}, or a shorter seq_len"


def _more(gpus: int) -> list[int]:
    return [count for count in (2, 4, 8, *(8 * 2**power for power in range(1, 8))) if count > gpus][:6]


def _busy(cluster: Cluster, most: int) -> Cluster:
    """As many of the GPUs as have work: whole nodes, or a power of two within one."""
    if most >= cluster.gpus:
        return cluster
    count = most - most % 8 if most >= 8 else max(_powers(most))
    return replace(cluster, gpus=count)


def _powers(most: int) -> list[int]:
    """Powers of two up to a number."""
    return [2**power for power in range(most.bit_length())]
