"""Noise on the embeddings of a batch whose examples ask for it (data/noise.py): integers, so a GPU draws what a CPU draws."""

from __future__ import annotations

import torch

from trivium.nn.batch import Batch

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


def _mix(value: torch.Tensor) -> torch.Tensor:
    """The finaliser of splitmix64, as `core.seeds.mix` has it, on int64 that overflow; a shift brings in the sign, which is masked out."""
    value = value + _GOLDEN
    value ^= (value >> 30) & ((1 << 34) - 1)
    value *= _MIX_1
    value ^= (value >> 27) & ((1 << 37) - 1)
    value *= _MIX_2
    value ^= (value >> 31) & ((1 << 33) - 1)
    return value
