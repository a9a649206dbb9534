"""Many processes as one: weights, gradients and optimizer state are spread over the ranks (FSDP2), the program stays the same.

With one process every function here gives back what it got. Counts and sums cross the ranks once a step; gradients are summed,
never averaged, because `learn.reduce` has divided by the counts of all ranks already. How many ranks share weights, rows and layers is
said in mesh.py. What reads a model outside of its `Loss` is in spread.py. Left out: pipeline and expert parallelism.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from trivium.core.types import Group
from trivium.data.pack import empty_batch
from trivium.data.share import share
from trivium.nn.batch import Batch
from trivium.nn.context import ModelInContext
from trivium.nn.model import Model
from trivium.nn.outputs import Network
from trivium.nn.promised import Promised, hollow
from trivium.nn.recompute import recompute
from trivium.nn.stretch import Stretch
from trivium.nn.tensor_parallel import check_spread, spread_block
from trivium.nn.transformer import Transformer
from trivium.train.mesh import Sizes, arrangement


def is_parallel() -> bool:
    """Whether other ranks work with this process."""
    return dist.is_initialized() and dist.get_world_size() > 1


def rank_and_size() -> tuple[int, int]:
    """Which of how many processes this is."""
    return (dist.get_rank(), dist.get_world_size()) if is_parallel() else (0, 1)


def sizes() -> Sizes:
    """How many ranks share what. Raises ConfigError if there are not as many as that takes."""
    return arrangement().sizes(rank_and_size()[1])


def data_rank() -> tuple[int, int]:
    """(rank, size) among the processes that read different data."""
    return sizes().data_rank(rank_and_size()[0]), sizes().data


@cache
def _mesh(world: dist.ProcessGroup, device: str, found: Sizes) -> DeviceMesh:  # noqa: ARG001  (a world of its own has meshes of its own)
    """Who keeps which weights: ranks that share rows share weights too."""
    return _cut(device, "shard", {"replicate": found.replicate, "shard": found.shard * found.context, "tensor": found.tensor})


@cache
def _work(world: dist.ProcessGroup, found: Sizes) -> DeviceMesh:  # noqa: ARG001
    """Who reads which data: of the same ranks in the same order. Its groups have the backends of the world, for every device."""
    return _cut("cpu", "data", {"data": found.data, "context": found.context, "tensor": found.tensor})


def _cut(device: str, always: str, dimensions: dict[str, int]) -> DeviceMesh:
    """Without dimensions of size 1, for which torch would make a group for each rank."""
    there = {name: size for name, size in dimensions.items() if size > 1 or name == always}
    return init_device_mesh(device, tuple(there.values()), mesh_dim_names=tuple(there))


def _trunks(loss: nn.Module) -> Iterator[Transformer]:
    return (module for module in loss.modules() if isinstance(module, Transformer))


def recompute_blocks(loss: nn.Module) -> None:
    """Let the blocks of every model in it compute again what the arrangement says; with one process too."""
    for trunk in _trunks(loss):
        recompute(trunk, arrangement().recompute)


def shard(loss: nn.Module, optimizers: Iterable[torch.optim.Optimizer] = (), promised: Promised | None = None) -> nn.Module:
    """Spread the weights of `loss` over the ranks, block by block and then the rest; returns `loss`.

    optimizers: fresh ones over the weights; from here on they hold the shards. promised: where those weights of the model in it come from
    that it has not got, part after part. A collective: every rank calls it, with equal weights. Raises ConfigError if the ranks, or the
    blocks, cannot be cut as mesh.py is told.
    """
    found = sizes()
    if not is_parallel():
        return loss
    names = {parameter: name for name, parameter in loss.named_parameters()}
    mesh = _mesh(dist.group.WORLD, next(iter(names)).device.type, found)
    for model in loss.modules():
        if isinstance(model, Model):
            model.compile_by_block()
    trunks = list(_trunks(loss))
    for trunk in trunks:
        trunk.twin = None  # our kernels read weights where they are, and would pass by the hooks that gather them
        trunk.has_hooks = True
        if found.tensor > 1:
            check_spread(trunk, found.tensor)
    _wrap(loss, trunks, mesh, partial(_filled, {weight: name.removeprefix("model.") for weight, name in names.items()}, promised))
    shards = dict(loss.named_parameters())
    for optimizer in optimizers:
        # torch updates all weights of a group in one call, which must not mix meshes
        optimizer.param_groups[:] = [
            {**group, "params": members}
            for group in optimizer.param_groups
            for members in by_mesh(shards[names[parameter]] for parameter in group["params"])
        ]
    return loss


@contextmanager
def _filled(names: Mapping[nn.Parameter, str], promised: Promised | None, part: nn.Module) -> Iterator[None]:
    """A part of the model that has its weights while entered, which is when they are cut; the shards have memory of their own."""
    whole = [] if promised is None else promised.fill(part, names)
    yield
    for weight in whole:
        weight.data = hollow(weight.shape, weight.device)


def _wrap(
    loss: nn.Module, trunks: Sequence[Transformer], mesh: DeviceMesh, filled: Callable[[nn.Module], AbstractContextManager[None]]
) -> None:
    """Blocks gather their weights in the precision they compute in; the rest, which a loss reads, as it is. Sums are in fp32."""
    there = mesh.mesh_dim_names or ()
    data = mesh["replicate", "shard"] if "replicate" in there else mesh["shard"]
    for trunk in trunks:
        is_rounded = trunk.compute_dtype != torch.float32 and next(trunk.parameters()).dtype == torch.float32
        policy = MixedPrecisionPolicy(
            param_dtype=trunk.compute_dtype if is_rounded else None, reduce_dtype=torch.float32 if is_rounded else None,
            cast_forward_inputs=False,
        )  # fmt: skip
        for block in trunk.blocks:
            with filled(block):
                if "tensor" in there:
                    spread_block(block, mesh["tensor"])
                fully_shard(block, mesh=data, mp_policy=policy)
    with filled(loss):
        fully_shard(loss, mesh=data)
    for module in loss.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # the default, the mean over ranks, is wrong when ranks hold unequal numbers of tokens
            module.set_force_sum_reduction_for_comms(True)  # gloo has no pre-multiplied sum, and NCCL's had bugs


def sum_copies(loss: nn.Module, *, is_last: bool) -> None:
    """Say before each backward pass of a step whether it is the last, after which copies of the weights (HSDP) sum their gradients."""
    if isinstance(loss, FSDPModule) and sizes().replicate > 1:
        loss.set_requires_all_reduce(is_last)


def in_context(model: Model, batch: Batch) -> Network:
    """What says something about the batch: the model, or where ranks share rows, this rank's part of it."""
    found = sizes()
    if found.context == 1:
        return model
    group = _work(dist.group.WORLD, found).get_group("context")
    return ModelInContext(model, Stretch(group, batch.tokens_BL.shape[1]))


def by_mesh(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors that are spread over the same ranks, together and in their order: torch's calls on lists do not mix meshes."""
    found: dict[DeviceMesh | None, list[Tensor]] = {}
    for tensor in tensors:
        found.setdefault(tensor.device_mesh if isinstance(tensor, DTensor) else None, []).append(tensor)
    yield from found.values()


def total_norm(tensors: Iterable[Tensor]) -> Tensor:
    """The 2-norm of all of them together, on every rank. A collective."""
    norms = [full_tensor(torch.nn.utils.get_total_norm(members)) for members in by_mesh(tensors)]
    return norms[0] if len(norms) == 1 else torch.stack(norms).norm() if norms else torch.zeros(())


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
    """The sum of x over all ranks that read different data, on all ranks."""
    if is_parallel():
        dist.all_reduce(x, group=_work(dist.group.WORLD, sizes()).get_group("data"))
    return x


def full_tensor(x: Tensor) -> Tensor:
    """All of a sharded tensor on every rank. A collective: ranks that do not need it walk along."""
    return x.full_tensor() if isinstance(x, DTensor) else x


def local_part(x: Tensor) -> Tensor:
    """What this rank holds of a tensor."""
    return x.to_local() if isinstance(x, DTensor) else x


def like(full: Tensor, weight: Tensor) -> Tensor:
    """`full` spread over the ranks as `weight` is, if it is; the opposite of `full_tensor`."""
    if not isinstance(weight, DTensor) or full.shape != weight.shape:
        return full
    return distribute_tensor(full, weight.device_mesh, weight.placements, src_data_rank=None)
