"""Noise on the embeddings of a batch and dropout on its stream, where its examples ask for it (data/noise.py).

Integers, so a GPU draws what a CPU draws.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from trivium.nn.batch import Batch

PLACES = 1 << 16  # more than there are additions to the stream
_GOLDEN, _MIX_1, _MIX_2 = (value - (1 << 64) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def embedding_noise(batch: Batch, width: int) -> torch.Tensor | None:
    """What is added to the embeddings, (B, L, D) float32, 0 on padding; None if the batch has no columns of it.

    Number d of a token: uniform in [-1, 1) in steps of 2^-23, from the hash of (noise_key, d), times noise_scale.
    """
    if "noise_key" not in batch.columns:
        return None
    first_BL = batch["noise_key"].long() * width
    hashed_BLD = _mix(first_BL[..., None] + torch.arange(width, device=first_BL.device))
    return ((hashed_BLD >> 40) & 0xFFFFFF).float().mul_(2.0**-23).sub_(1.0) * batch["noise_scale"][..., None]


class Dropout(NamedTuple):
    """Which numbers of what a layer adds to the stream are left out. key_BL: int64, of each token; share_BL: how many, in [0, 1)."""

    key_BL: torch.Tensor
    share_BL: torch.Tensor


def dropout_of(batch: Batch) -> Dropout | None:
    """That of a batch; None if it has no columns of it."""
    return Dropout(batch["dropout_key"].long(), batch["dropout_share"]) if "dropout_key" in batch.columns else None


def dropped(x_BLD: torch.Tensor, dropout: Dropout | None, place: int) -> torch.Tensor:
    """x with numbers set to 0 and the others divided by 1 - share, as the hash of (key, place, d) has it; x without dropout.

    place: which addition to the stream it is.
    """
    if dropout is None:
        return x_BLD
    base_BL, share_BL1 = _mix(dropout.key_BL * PLACES + place), dropout.share_BL[..., None]
    hashed_BLD = _mix(base_BL[..., None] + torch.arange(x_BLD.shape[-1], device=x_BLD.device))
    stays_BLD = ((hashed_BLD >> 40) & 0xFFFFFF).float().mul_(2.0**-24) >= share_BL1
    return x_BLD * (stays_BLD / (1 - share_BL1)).to(x_BLD.dtype)


def _mix(value: torch.Tensor) -> torch.Tensor:
    """The finaliser of splitmix64, as `core.seeds.mix` has it, on int64 that overflow; a shift brings in the sign, which is masked out."""
    value = value + _GOLDEN
    value ^= (value >> 30) & ((1 << 34) - 1)
    value *= _MIX_1
    value ^= (value >> 27) & ((1 << 37) - 1)
    value *= _MIX_2
    value ^= (value >> 31) & ((1 << 33) - 1)
    return value
