"""Rotary positions (Su et al. 2021, arXiv:2104.09864) and the ways in which families stretch them over longer texts."""

import math

import torch
from torch import Tensor

from trivium.nn.config import LinearScaling, Llama3Scaling, RopeScaling


def rope_table(positions: int, dim: int, theta: float, scaling: RopeScaling | None = None) -> tuple[Tensor, Tensor]:
    """cos and sin of every position, (positions, dim/2) fp32. Su et al., eq. 34, halves instead of neighbours."""
    frequency, factor = frequencies(dim, theta, scaling)
    angle = torch.arange(positions, dtype=torch.float32)[:, None] * frequency
    return angle.cos() * factor, angle.sin() * factor


def frequencies(dim: int, theta: float, scaling: RopeScaling | None) -> tuple[Tensor, float]:
    """Radians a position of every pair of dimensions, (dim/2,) fp32, and what cos and sin are multiplied by."""
    plain = 1.0 / theta ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    if scaling is None:
        return plain, 1.0
    if isinstance(scaling, LinearScaling):
        return plain / scaling.factor, 1.0
    if isinstance(scaling, Llama3Scaling):
        turns = scaling.original_max_seq_len * plain / (2 * math.pi)
        keep = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
        factor = 1.0
    else:

        def dimension(turns: float) -> float:
            return dim * math.log(scaling.original_max_seq_len / (turns * 2 * math.pi)) / (2 * math.log(theta))

        first = max(math.floor(dimension(scaling.beta_fast)), 0)
        last = min(math.ceil(dimension(scaling.beta_slow)), dim - 1)
        keep = 1 - (torch.arange(dim // 2, dtype=torch.float32) - first) / max(last - first, 0.001)
        factor = scaling.attention_factor or (0.1 * math.log(max(scaling.factor, 1.0)) + 1)
    keep = keep.clamp(0, 1)
    return (1 - keep) * plain / scaling.factor + keep * plain, factor


def rotate(x_BHLD: Tensor, cos_BLR: Tensor, sin_BLR: Tensor) -> Tensor:
    """Rotate the first 2R dimensions of each head by its position; dimension i pairs with i + R (Llama, NeoX)."""
    half = cos_BLR.shape[-1]
    cos, sin = cos_BLR[:, None].to(x_BHLD.dtype), sin_BLR[:, None].to(x_BHLD.dtype)
    first, second, rest = x_BHLD.split((half, half, x_BHLD.shape[-1] - 2 * half), dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin, rest), dim=-1)
