"""Which attention kernels a device has: the order to try them in, and those that read packed rows without a mask.

FlexAttention is left out: it has no backward pass on a CPU, compiles a kernel for every shape, and where it is fast varlen is there too.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

varlen_attn: Callable[..., Tensor] | None
try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # torch was built without it
    varlen_attn = None

# On an H100 cuDNN's forward pass is as fast as FlashAttention 3 and 1.7 times as fast as FlashAttention 2
ORDER = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


class Documents(NamedTuple):
    """What a varlen kernel reads instead of a mask: where documents begin in the rows laid end to end.

    starts_D: (D + 1,) int32, from 0 to B * L; starts that are equal enclose nothing. longest: no document has more tokens.
    key_starts_D, longest_keys: where and how long they are among the keys, if there are more keys than queries (nn/stretch.py); the last
    query of a document stands at its last key.
    """

    starts_D: Tensor
    longest: int
    key_starts_D: Tensor | None = None
    longest_keys: int = 0


class Sight(NamedTuple):
    """What our kernels read instead of a mask: position i sees those from start[i] to i, but for skip_from[i] to before skip_to[i].

    (B, L) int32 each, contiguous; places in the row.
    """

    start_BL: Tensor
    skip_from_BL: Tensor
    skip_to_BL: Tensor


def preferred_attention(device: torch.device) -> AbstractContextManager[Any]:
    """Inside of it, fused attention on a GPU is the fastest kernel that takes the inputs."""
    return sdpa_kernel(ORDER, set_priority=True) if device.type == "cuda" else nullcontext()


def why_masks(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why packed rows need a mask here, in a few words; None if the varlen kernel takes them."""
    if device.type != "cuda":
        return f"there is no varlen attention on {device.type}"
    if varlen_attn is None:
        return f"torch {torch.__version__} has no varlen attention"
    if dtype not in (torch.bfloat16, torch.float16):
        return f"varlen attention computes in 16 bits, not in {dtype}"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return "varlen attention needs compute capability 8.0"
    return None


def attend_documents(query_BHLD: Tensor, key_BHMD: Tensor, value_BHMD: Tensor, documents: Documents, scale: float | None = None) -> Tensor:
    """softmax(Q K^T scale) V within each document, causal; (B, H, L, D). All three have the same heads; scale: 1/sqrt(D) if None."""
    rows, _, length, _ = query_BHLD.shape
    query, key, value = (x.transpose(1, 2).flatten(0, 1) for x in (query_BHLD, key_BHMD, value_BHMD))  # (B * L, H, D)
    if varlen_attn is None:
        raise RuntimeError("no varlen attention; `why_masks` says so before documents are made")
    starts, longest, key_starts, longest_keys = documents
    keys = (starts, longest) if key_starts is None else (key_starts, longest_keys)
    mixed = varlen_attn(query, key, value, starts, keys[0], longest, keys[1], scale=scale, window_size=(-1, 0))
    return mixed.unflatten(0, (rows, length)).transpose(1, 2)  # type: ignore[union-attr]  (a tuple only if asked for)


def document_starts(sequence_BL: Tensor) -> Tensor:
    """`Documents.starts_D` of packed rows, padding at their ends a document of its own.

    The last start is repeated up to a power of two, so that a compiler meets few shapes.
    """
    sequence = sequence_BL.flatten()
    changes = (sequence[1:] != sequence[:-1]).nonzero()[:, 0] + 1
    count = len(changes) + 2
    starts = sequence.new_full((1 << (count - 1).bit_length(),), len(sequence), dtype=torch.int32)
    starts[0] = 0
    starts[1 : count - 1] = changes
    return starts
