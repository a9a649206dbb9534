"""What the machine is fast at, measured in about a second: threads, precision, and the ceiling of its matrix product."""

import shutil
import time
from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.world import num_cores

EAGER_SHARE, COMPILED_SHARE = 0.33, 0.36  # of the ceiling, what training of small models reaches (LOG.md)

Precision = Literal["float32", "bfloat16"]


@component
class Machine:
    """How to use this machine; `auto` values are measured once and written into run.toml, so that a resumed run uses the same.

    threads 0 means all cores. ceiling is the measured FLOP/s of a matrix product in `precision`, 0 before it is measured.
    compile: `on` compiles the blocks where training is long enough to pay for it; auto is on where a C++ compiler is found.
    """

    threads: int = Field(default=0, ge=0, le=1024)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    ceiling: float = Field(default=0.0, ge=0)
    compile: Literal["auto", "on", "off"] = "auto"

    def pays_to_compile(self, flops: float) -> bool:
        """Whether training of this many FLOPs is long enough: about 10 s of compiling buy a fifth of the time."""
        return self.compile == "on" and flops > 60 * EAGER_SHARE * self.ceiling

    def measured(self) -> "Machine":
        """The same with nothing left open: the precision with the faster product, and its ceiling. Loads torch."""
        import torch

        threads = self.threads or num_cores()
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("medium")  # oneDNN instead of MKL on CPU, at fp32 accuracy (LOG.md)
        names: tuple[Precision, ...] = ("float32", "bfloat16") if self.precision == "auto" else (self.precision,)
        ceilings = {name: self.ceiling or _matmul_flops(getattr(torch, name)) for name in names}
        best = max(ceilings, key=lambda name: ceilings[name] * (1.0 if name == "float32" else 0.8))  # bf16 must win clearly
        found = "on" if any(shutil.which(name) for name in ("c++", "g++", "clang++")) else "off"
        use = found if self.compile == "auto" else self.compile
        return Machine(threads=threads, precision=best, ceiling=float(f"{ceilings[best]:.3g}"), compile=use)


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
