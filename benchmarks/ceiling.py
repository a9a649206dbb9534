"""What this machine could do at best: the speed of its matrix products at the very shapes of a work, and of reading memory.

A share of a data-sheet's peak flatters or shames the machine; a share of what was measured in the same run judges the program.
"""

import time
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from trivium.nn.config import ModelConfig

Shape = tuple[int, int, int]  # rows, inner, columns of a product


def training_shapes(config: ModelConfig, tokens: int) -> list[Shape]:
    """The products of one training step over so many tokens: each weight forward, to its input and to itself."""
    width, inner, heads = config.hidden_size, config.intermediate_size, config.head_dim * config.num_heads
    kv_heads = config.head_dim * config.num_kv_heads
    layer = [(width, heads), (width, kv_heads), (width, kv_heads), (heads, width), (width, inner), (width, inner), (inner, width)]
    weights = layer * config.num_layers + [(width, config.vocab_size)]
    return [shape for rows, columns in weights for shape in ((tokens, rows, columns), (tokens, columns, rows), (rows, tokens, columns))]


def matmul_flops(dtype: torch.dtype, shapes: Iterable[Shape], seconds: float = 0.1, device: str = "cpu") -> float:
    """FLOP/s of these products one after the other, each at the best of its repetitions in about `seconds`.

    float32 is measured at the precision "medium", which on CPUs is fp32 accuracy through oneDNN; int8 gives int32.
    """
    torch.set_float32_matmul_precision("medium")
    wanted = list(shapes)
    best = {shape: _best_seconds(_product(dtype, shape, device), seconds) for shape in sorted(set(wanted))}
    return sum(2.0 * m * k * n for m, k, n in wanted) / sum(best[shape] for shape in wanted)


def hopeless(names: Sequence[str], *, device: str = "cpu", size: int = 384) -> dict[str, float]:
    """Precisions whose products here are more than ten times slower than float32's, and how many times: nobody would choose them.

    A processor without bf16 or int8 instructions emulates them, and a contest with them would take hours. Measured in half a second.
    """
    shape = [(size, size, size)]
    speeds = {name: matmul_flops(getattr(torch, name), shape, 0.1, device=device) for name in {"float32", *names}}
    times = {name: speeds["float32"] / speeds[name] for name in names}
    return {name: factor for name, factor in times.items() if factor > 10}


def read_bandwidth(size_bytes: int = 1 << 29, seconds: float = 1.0) -> float:
    """Bytes a second at which all threads together read memory that is too large for any cache: the sum of a long vector, at its best."""
    vector = torch.ones(size_bytes // 4)
    return size_bytes / _best_seconds(vector.sum, seconds)


def _product(dtype: torch.dtype, shape: Shape, device: str) -> Callable[[], Tensor]:
    """One product; of normal numbers on a GPU, where ones draw less power and so run faster."""
    rows, inner, columns = shape
    if device == "cpu":
        a, b = torch.ones(rows, inner, dtype=dtype), torch.ones(inner, columns, dtype=dtype)
        return lambda: torch._int_mm(a, b) if dtype is torch.int8 else a @ b
    a, b = (torch.randn(size, device=device).to(dtype) for size in ((rows, inner), (inner, columns)))

    def product() -> Tensor:
        found = a @ b
        torch.accelerator.synchronize()
        return found

    return product


def _best_seconds(work: Callable[[], object], seconds: float) -> float:
    work()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
