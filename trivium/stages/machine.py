"""What the machine is fast at, measured in about a second: threads, precision, and the ceiling of its matrix product."""

import time
from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.world import num_cores

Precision = Literal["float32", "bfloat16"]


@component
class Machine:
    """How to use this machine; `auto` values are measured once and written into run.toml, so that a resumed run uses the same.

    threads 0 means all cores. ceiling is the measured FLOP/s of a matrix product in `precision`, 0 before it is measured.
    """

    threads: int = Field(0, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    ceiling: float = Field(0.0, ge=0)

    def measured(self) -> "Machine":
        """The same with nothing left open: the precision with the faster product, and its ceiling. Loads torch."""
        import torch

        threads = self.threads or num_cores()
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("medium")  # oneDNN instead of MKL on CPU, at fp32 accuracy (LOG.md)
        names: tuple[Precision, ...] = ("float32", "bfloat16") if self.precision == "auto" else (self.precision,)
        ceilings = {name: self.ceiling or _matmul_flops(getattr(torch, name)) for name in names}
        best = max(ceilings, key=lambda name: ceilings[name] * (1.0 if name == "float32" else 0.8))  # bf16 must win clearly
        return Machine(threads=threads, precision=best, ceiling=float(f"{ceilings[best]:.3g}"))


def _matmul_flops(dtype: object, seconds: float = 0.25) -> float:
    """FLOP/s of (1024, 1024) @ (1024, 1024) with all threads; the best of many, since neighbours only ever slow it down."""
    import torch

    a, b = torch.ones(1024, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype)  # type: ignore[call-overload]
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * 1024**3 / best
