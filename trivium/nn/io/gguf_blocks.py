"""How GGUF packs numbers: blocks of 1, 32 or 256 with a scale of their own, each to fp32 bit for bit as llama.cpp has it.

Layouts: ggml-common.h and the `dequantize_row_*` of ggml-quants.c (ggml, MIT). Left out: the other k-quants and the i-quants,
which hardly any small model is published in alone. A block below is a row of bytes; half-precision scales come first unless said.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Bytes = np.ndarray  # (blocks, num_bytes) uint8
Numbers = np.ndarray  # (blocks, size) float32


@dataclass(frozen=True, slots=True)
class BlockType:
    """A packing. size: numbers in a block of num_bytes bytes. unpack: (blocks, num_bytes) uint8 to (blocks, size) float32."""

    name: str
    size: int
    num_bytes: int
    unpack: Callable[[Bytes], Numbers]


def _plain(dtype: str) -> Callable[[Bytes], Numbers]:
    return lambda blocks: np.ascontiguousarray(blocks).view(dtype).astype(np.float32)


def _half(blocks: Bytes, start: int) -> Numbers:
    """The fp16 number at a byte of every block, (blocks, 1)."""
    return np.ascontiguousarray(blocks[:, start : start + 2]).view("<f2").astype(np.float32)


def _nibbles(packed: Bytes) -> Numbers:
    """The low halves of all bytes, then the high halves."""
    numbers = np.empty((len(packed), 2 * packed.shape[1]), np.float32)
    numbers[:, : packed.shape[1]] = packed & 15
    numbers[:, packed.shape[1] :] = packed >> 4
    return numbers


def _fifth_bits(packed: Bytes) -> np.ndarray:
    """One bit for each of 32 numbers, lowest first, at the place of a fifth bit."""
    return np.unpackbits(packed, axis=1, bitorder="little") << 4


def _scaled(numbers: Numbers, scale: Numbers, least: Numbers | None = None) -> Numbers:
    """numbers * scale + least, in place."""
    numbers *= scale
    if least is not None:
        numbers += least
    return numbers


def _q4_k(blocks: Bytes) -> Numbers:
    """Scale, scale of the minima, 8 six-bit scales and 8 six-bit minima in 12 bytes, 256 halves of bytes."""
    low, high, rest = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    scales = np.concatenate([low & 63, (rest & 15) | ((low >> 2) & 48)], axis=1).astype(np.float32)
    minima = np.concatenate([high & 63, (rest >> 4) | ((high >> 2) & 48)], axis=1).astype(np.float32)
    packed = blocks[:, 16:].reshape(-1, 4, 1, 32)
    numbers = np.concatenate([packed & 15, packed >> 4], axis=2).reshape(-1, 8, 32).astype(np.float32)
    scale, least = (_half(blocks, 0) * scales)[:, :, None], (_half(blocks, 2) * minima)[:, :, None]
    return (scale * numbers - least).reshape(-1, 256)


def _q6_k(blocks: Bytes) -> Numbers:
    """Low four bits of 256 numbers, their high two bits, 16 signed scales, and the scale of all at the end."""
    low = blocks[:, :128].reshape(-1, 2, 1, 64) >> np.array([0, 4], np.uint8).reshape(1, 1, 2, 1)
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)
    numbers = (low & 15).reshape(-1, 8, 32) | ((high & 3).reshape(-1, 8, 32) << 4)
    scales = _half(blocks, 208) * np.ascontiguousarray(blocks[:, 192:208]).view(np.int8).astype(np.float32)
    return (scales[:, :, None] * (numbers.reshape(-1, 16, 16).astype(np.float32) - 32)).reshape(-1, 256)


BLOCK_TYPES: dict[int, BlockType] = {
    0: BlockType("F32", 1, 4, _plain("<f4")),
    1: BlockType("F16", 1, 2, _plain("<f2")),
    2: BlockType("Q4_0", 32, 18, lambda blocks: _scaled(_nibbles(blocks[:, 2:]) - 8, _half(blocks, 0))),
    3: BlockType("Q4_1", 32, 20, lambda blocks: _scaled(_nibbles(blocks[:, 4:]), _half(blocks, 0), _half(blocks, 2))),
    6: BlockType("Q5_0", 32, 22, lambda blocks: _scaled(_nibbles(blocks[:, 6:]) + _fifth_bits(blocks[:, 2:6]) - 16, _half(blocks, 0))),
    7: BlockType(
        "Q5_1", 32, 24, lambda blocks: _scaled(_nibbles(blocks[:, 8:]) + _fifth_bits(blocks[:, 4:8]), _half(blocks, 0), _half(blocks, 2))
    ),
    8: BlockType("Q8_0", 32, 34, lambda blocks: _scaled(_plain("i1")(blocks[:, 2:]), _half(blocks, 0))),
    12: BlockType("Q4_K", 256, 144, _q4_k),
    14: BlockType("Q6_K", 256, 210, _q6_k),
    30: BlockType("BF16", 1, 2, lambda blocks: (np.ascontiguousarray(blocks).view("<u2").astype(np.uint32) << 16).view(np.float32)),
}
