"""What the backward pass needs of each block: kept, or computed again (Chen et al. 2016, arXiv:1604.06174).

The numbers are the same to the bit: what is computed again is computed in the same way.
"""

from functools import partial
from typing import Any, Literal

import torch
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from trivium.nn.transformer import Transformer

Recompute = Literal["nothing", "cheap", "all"]

# what costs most of the time: products of matrices, and fused attention
KEPT = {
    f"aten::{name}" for name in (
        "mm", "addmm", "_scaled_mm", "_scaled_dot_product_flash_attention", "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
    )
} | {"torch_attn::_varlen_attn"}  # fmt: skip


def recompute(trunk: Transformer, how: Recompute) -> None:
    """From here on the blocks compute again in the backward pass: all of them but their input, or what is cheap, or nothing.

    cheap: everything but products with weights and fused attention, which are kept. Our kernels, which keep little, are given up for it.
    """
    contexts: dict[str, Any] = {"context_fn": partial(create_selective_checkpoint_contexts, _policy)} if how == "cheap" else {}
    for block in trunk.blocks:
        block.__dict__.pop("forward", None)
        if how != "nothing":
            # inside the module's hooks: FSDP gathers its weights once for both, and no name changes
            block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False, **contexts)
            trunk.twin = None


def _policy(_: Any, operation: Any, *__: Any, **___: Any) -> CheckpointPolicy:
    name = operation.name().split(".")[0] if isinstance(operation, torch._ops.OpOverload) else ""
    return CheckpointPolicy.MUST_SAVE if name in KEPT else CheckpointPolicy.PREFER_RECOMPUTE
