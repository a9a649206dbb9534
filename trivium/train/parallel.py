"""Many processes as one: weights, gradients and optimizer state are spread over the ranks (FSDP2), the program stays the same.

With one process every function here gives back what it got. Counts and sums cross the ranks once a step; gradients are summed,
never averaged, because `learn.reduce` has divided by the counts of all ranks already. What reads a model outside of its `Loss`
(generation, annotation, saving) reads a whole copy (train/trainer.py). Left out: tensor, pipeline and context parallelism.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from trivium.core.types import Group
from trivium.data.pack import empty_batch
from trivium.data.share import share
from trivium.nn.batch import Batch
from trivium.nn.transformer import Block, Transformer

T = TypeVar("T")


def is_parallel() -> bool:
    """Whether other ranks work with this process."""
    return dist.is_initialized() and dist.get_world_size() > 1


def rank_and_size() -> tuple[int, int]:
    """Which of how many processes this is."""
    return (dist.get_rank(), dist.get_world_size()) if is_parallel() else (0, 1)


def data_rank() -> tuple[int, int]:
    """The same among the processes that read different data."""
    return rank_and_size()


def shard(loss: nn.Module, optimizers: Iterable[torch.optim.Optimizer] = ()) -> nn.Module:
    """Spread the weights of `loss` over the ranks, block by block and then the rest; returns `loss`.

    optimizers: fresh ones over the weights; from here on they hold the shards. A collective: every rank calls it, with equal weights.
    """
    if not is_parallel():
        return loss
    for module in loss.modules():
        if isinstance(module, Transformer):
            module.twin = None  # our kernels read weights where they are, and would pass by the hooks that gather them
    names = {parameter: name for name, parameter in loss.named_parameters()}
    mesh = init_device_mesh(next(iter(names)).device.type, (dist.get_world_size(),))
    for module in [*(module for module in loss.modules() if isinstance(module, Block)), loss]:
        fully_shard(module, mesh=mesh)
    for module in loss.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # the default, the mean over ranks, is wrong when ranks hold unequal numbers of tokens
            module.set_force_sum_reduction_for_comms(True)  # gloo has no pre-multiplied sum, and NCCL's had bugs
    shards = dict(loss.named_parameters())
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["params"] = [shards[names[parameter]] for parameter in group["params"]]
    return loss


def own_share(items: Sequence[T]) -> Sequence[T]:
    """Of a list that every rank has, the items that this one works on: all of them for one process."""
    rank, size = data_rank()
    return items[rank::size]


def own_shares(groups: Sequence[Group], shares: int = 1) -> list[Sequence[Group]]:
    """Of the groups of a step that every rank has, those of this one, in so many parts."""
    rank, size = data_rank()
    return [share(groups, rank * shares + number, size * shares) for number in range(shares)]


def equal_batches(batches: Sequence[Batch]) -> list[Batch]:
    """As many micro-batches as the rank with the most has: a rank with fewer counts nothing in the rest, but runs the same collectives."""
    if not is_parallel():
        return list(batches)
    most = torch.tensor(len(batches))
    dist.all_reduce(most, op=dist.ReduceOp.MAX)
    return [*batches, *(empty_batch(*batches[0].tokens_BL.shape) for _ in range(int(most) - len(batches)))]


def sum_over_ranks(x: Tensor) -> Tensor:
    """The sum of x over all ranks, on all ranks."""
    if is_parallel():
        dist.all_reduce(x)
    return x


def full_tensor(x: Tensor) -> Tensor:
    """All of a sharded tensor on every rank. A collective: ranks that do not need it walk along."""
    return x.full_tensor() if isinstance(x, DTensor) else x


def like(full: Tensor, weight: Tensor) -> Tensor:
    """`full` spread over the ranks as `weight` is, if it is; the opposite of `full_tensor`."""
    if not isinstance(weight, DTensor) or full.shape != weight.shape:
        return full
    return distribute_tensor(full, weight.device_mesh, weight.placements, src_data_rank=None)
