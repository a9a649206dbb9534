"""What the machine is fast at, measured in about a second: device, threads, precision, and the ceiling of its matrix product."""

import shutil
import time
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import ConfigError
from trivium.core.world import keep_memory, num_cores, world
from trivium.data.share import EXACT_SHARES
from trivium.plan.devices import device_called

if TYPE_CHECKING:
    import torch

# Of the ceiling of one fp32 or bf16 product, what pre-training of small models reaches with Muon (int8 products have a higher ceiling),
# and what later stages reach with AdamW and native kernels (LOG.md)
EAGER_SHARE, COMPILED_SHARE, NATIVE_SHARE, INT8_SHARE, LATER_SHARE = 0.33, 0.36, 0.38, 0.46, 0.6

Precision = Literal["float32", "bfloat16"]


@component
class Machine:
    """How to use this machine; `auto` values are measured once and written into run.toml, so that a resumed run uses the same.

    device auto is cuda where there is such a GPU. threads 0 means all cores. ceiling is the measured FLOP/s of a large matrix product
    in `precision` on the device, 0 before it is measured: what the machine can do, so it does not depend on the model. compile: `on`
    compiles where training is long enough to pay for it; auto is on where a C++ compiler is found and the next does not apply.
    kernels: native are ours in C++, for a CPU, with states in float32; auto takes them where they compile. products: what pre-training
    multiplies inside the blocks; full is `precision`, int8 (auto: where bytes are several times faster, with native kernels) rounds the
    factors to 8 bits, fp8 (never by itself: it pays for wide models only) to 8-bit floats, in bfloat16 on a GPU. exact: training has the
    same bits with 1, 2 or 4 ranks, which is slower (docs/many-ranks.md).
    """

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: int = Field(default=0, ge=0, le=1024)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    ceiling: float = Field(default=0.0, ge=0)
    compile: Literal["auto", "on", "off"] = "auto"
    kernels: Literal["auto", "native", "torch"] = "auto"
    products: Literal["auto", "full", "int8", "fp8"] = "auto"
    exact: bool = False

    @property
    def sampler(self) -> Literal["native", "torch"]:
        """What answers are sampled with."""
        return "torch" if self.kernels == "torch" else "native"

    def pays_to_compile(self, flops: float) -> bool:
        """Whether training of this many FLOPs is long enough: about 10 s of compiling buy a fifth of the time."""
        return self.compile == "on" and self.kernels != "native" and flops > 60 * EAGER_SHARE * self.ceiling

    def seconds_for(self, flops: float, *, is_pretraining: bool = True) -> float:
        """How long training of so many FLOPs takes, about."""
        return flops / (self._share(flops, is_pretraining) * self.ceiling)

    def work_within(self, seconds: float) -> float:
        """The FLOPs that pre-training does in so many seconds, about: the opposite of `seconds_for`."""
        work = seconds * self._share(float("inf"), is_pretraining=True) * self.ceiling
        return work if self.kernels == "native" or self.pays_to_compile(work) else seconds * EAGER_SHARE * self.ceiling

    def _share(self, flops: float, is_pretraining: bool) -> float:
        """Of the ceiling, what a training of so many FLOPs reaches."""
        if self.kernels == "native" and not is_pretraining:
            return LATER_SHARE
        if self.kernels == "native":
            return INT8_SHARE if self.products == "int8" else NATIVE_SHARE
        return COMPILED_SHARE if is_pretraining and self.pays_to_compile(flops) else EAGER_SHARE

    def answers(self, asked: "Machine") -> bool:
        """Whether these measured settings are those that are asked for, wherever these are not open."""
        return bool(self.ceiling) and (
            asked.device in ("auto", self.device) and asked.precision in ("auto", self.precision)
            and asked.threads in (0, self.threads) and asked.compile in ("auto", self.compile)
            and asked.kernels in ("auto", self.kernels) and asked.products in ("auto", self.products)
            and asked.exact == self.exact
        )  # fmt: skip

    def place(self) -> Literal["cpu", "cuda", "mps"]:
        """The device that torch is asked for. Raises ConfigError if it is not there."""
        import torch

        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not there[self.device]:
            found = ", ".join(device for device, is_there in there.items() if is_there)
            raise ConfigError(
                f"machine.device is '{self.device}', but torch finds no such device here; it finds: {found}. Set machine.device=auto"
            )
        return self.device

    def measured(self) -> "Machine":
        """The same with nothing left open: the precision with the faster product, and its ceiling. Loads torch.

        Raises ConfigError if the device is not there, or what is asked for cannot be had.
        """
        import torch

        if self.exact and EXACT_SHARES % world().size:
            raise ConfigError(
                f"machine.exact is for 1, 2 or {EXACT_SHARES} ranks, and there are {world().size}; leave it out, or --ranks 2"
            )
        ranks_here = EXACT_SHARES if self.exact else world().local_size
        threads, device = self.threads or max(1, num_cores() // ranks_here), self.place()
        torch.set_num_threads(threads)
        if device == "cpu":
            keep_memory()
        names: tuple[Precision, ...] = ("float32", "bfloat16") if self.precision == "auto" else (self.precision,)
        ceilings: dict[Precision, float] = {}
        for name in names:
            set_matmul_precision(device, name)
            ceilings[name] = self.ceiling or _matmul_flops(torch.device(device), getattr(torch, name))
        best = max(ceilings, key=lambda name: ceilings[name] * (1.0 if name == "float32" else 0.8))  # bf16 must win clearly
        set_matmul_precision(device, best)
        found = "on" if any(shutil.which(name) for name in ("c++", "g++", "clang++")) else "off"
        use = "off" if self.exact else found if self.compile == "auto" else self.compile
        kernels = self._kernels(device)
        products = self._products(kernels, torch.device(device), best)
        ceiling = float(f"{ceilings[best]:.3g}")
        return Machine(
            device=device, threads=threads, precision=best, ceiling=ceiling, compile=use, kernels=kernels, products=products,
            exact=self.exact,
        )  # fmt: skip

    def _kernels(self, device: str) -> Literal["native", "torch"]:
        from trivium.nn.native.library import why_not

        if self.kernels == "torch":
            return "torch"
        reason = why_not() if device == "cpu" else f"they compute on a CPU, not on {device}"
        if reason and self.kernels == "native":
            raise ConfigError(f"machine.kernels is 'native', but {reason}; set machine.kernels=torch, which is slower")
        return "torch" if reason else "native"

    def _products(self, kernels: str, device: "torch.device", precision: Precision) -> Literal["full", "int8", "fp8"]:
        from trivium.nn.fp8 import why_not_fp8
        from trivium.nn.native.library import has_fast_int8

        if self.products == "fp8":
            reason = why_not_fp8(device) or ("" if precision == "bfloat16" else f"they stand beside bfloat16, not {precision}")
            if reason:
                raise ConfigError(f"machine.products is 'fp8', but {reason}; set machine.products=full")
        if self.products == "int8" and kernels != "native":
            raise ConfigError(
                "machine.products is 'int8', which needs native kernels, and these cannot be used here; set machine.products=full"
            )
        if self.products == "auto":
            return "int8" if kernels == "native" and has_fast_int8() else "full"
        return self.products

    def peak(self) -> float:
        """Dense bf16 FLOP/s on the data sheet of the device, 0 if none is known."""
        return peak_flops(device_name(self.device))

    def __str__(self) -> str:
        peak = self.peak()
        sheet = f"data sheet {peak / 1e12:,.0f} TFLOP/s in bf16" if peak else f"no data-sheet peak known for {device_name(self.device)}"
        how = f"{self.kernels} kernels, {self.products} products in pre-training"
        return f"{self.device}, {self.threads} threads, {self.precision}, {how}, matmul ceiling {self.ceiling / 1e9:,.0f} GFLOP/s ({sheet})"


def peak_flops(name: str) -> float:
    """Dense bf16 FLOP/s on the data sheet of a device by its own name (`NVIDIA H100 80GB HBM3`), 0 if it is not in the table."""
    found = device_called(name)
    return found.bf16 if found else 0.0


def device_name(device: str) -> str:
    """What the device calls itself; the processor's name for the CPU."""
    import torch

    from trivium.core.world import machine

    return torch.cuda.get_device_name() if device == "cuda" else str(machine()["processor"])


def set_matmul_precision(device: str, precision: Precision) -> None:
    """How torch multiplies fp32 matrices. On a CPU `medium` is oneDNN instead of MKL, at fp32 accuracy (LOG.md).

    On a GPU `medium` would be bf16: fp32 there means fp32, and TF32 where the user chose bf16 for the rest anyway.
    """
    import torch

    torch.set_float32_matmul_precision("medium" if device == "cpu" else "high" if precision == "bfloat16" else "highest")


def _matmul_flops(device: "torch.device", dtype: "torch.dtype", seconds: float = 0.25) -> float:
    """FLOP/s of a square product; the best of many, since neighbours only ever slow it down.

    1024 on a CPU, 8192 on a GPU, which smaller ones leave idle; normal numbers, because zeros and ones draw less power there.
    """
    import torch

    size = 1024 if device.type == "cpu" else 8192
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        a @ b
        if device.type != "cpu":
            torch.accelerator.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
