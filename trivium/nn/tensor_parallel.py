"""Tensor parallelism: the heads of attention and the columns of the MLP of every block are shared by the ranks of a group.

Shoeybi et al. 2019, arXiv:1909.08053, section 3: two sums over the group a block forward, and two backward. What stands between the
blocks (norms, embeddings, and the head with its chunks of log-probs) is whole on every rank and computed by each. Left out: sequence
parallelism (norms on stretches of the row), and a vocabulary that is cut.
"""

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)

from trivium.core.errors import ConfigError
from trivium.nn.transformer import Block, Linear, Transformer, cast_product

ROWS = ("attention.query", "attention.key", "attention.value", "mlp.gate", "mlp.up")  # each rank has some of what comes out
COLUMNS = ("attention.out", "mlp.down")  # each rank has some of what goes in
INPUTS = {"attention": (Replicate(), *(None,) * 5), "mlp": (Replicate(),)}


def spread_block(block: nn.Module, mesh: DeviceMesh) -> None:
    """Give every rank of the mesh, which has one dimension, its share of a block, before FSDP wraps it."""
    assert isinstance(block, Block)
    parallelize_module(block, mesh, _plan(block))
    block.attention.num_heads //= mesh.size()
    block.attention.num_kv_heads //= mesh.size()


def check_spread(trunk: Transformer, ranks: int) -> None:
    """Raise ConfigError if so many ranks cannot share the blocks: the shares would not be equal, or something in a block cannot be cut."""
    reason = why_not_spread(trunk, ranks)
    if reason is not None:
        raise ConfigError(f"parallel.tensor is {ranks}, but {reason}")


def why_not_spread(trunk: Transformer, ranks: int) -> str | None:
    """Why the blocks cannot be shared by so many ranks, in a few words; None if they can."""
    config = trunk.config
    for name, number in (("heads", config.num_heads), ("kv heads", config.num_kv_heads), ("columns in its MLP", config.intermediate_size)):
        if number % ranks:
            return f"the model has {number} {name}, which that does not divide"
    if config.has_qk_norm and config.qk_norm_over == "width":
        return "the model norms all heads together; set it to 1"
    if config.has_value_embeddings:
        return "the model has value embeddings, which are not cut; set it to 1"
    layers = (trunk.blocks[0].get_submodule(name) for name in (*ROWS, *COLUMNS) if name != "mlp.gate" or config.is_gated)
    if not all(isinstance(layer, Linear) and layer.multiply is cast_product for layer in layers):
        return "the model has an adapter, or products in fp8, which are not cut; set it to 1"
    return None


def _plan(block: Block) -> dict[str, ParallelStyle]:
    there = {name for name, _ in block.named_modules()}
    plan: dict[str, ParallelStyle] = {name: ColwiseParallel() for name in ROWS if name in there}
    plan |= {name: RowwiseParallel() for name in COLUMNS}
    # what several layers read is one tensor to them, so that its slopes are summed over the ranks once
    plan |= {name: PrepareModuleInput(input_layouts=layouts, desired_input_layouts=layouts) for name, layouts in INPUTS.items()}
    # torch's word for "each rank has some of dimension 1", which are the heads here: slopes of the weights are summed over the ranks
    norms = (name for name in ("attention.query_norm", "attention.key_norm") if name in there)
    return plan | {name: SequenceParallel(sequence_dim=1, use_local_output=True) for name in norms}
