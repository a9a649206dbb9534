"""doctor: what this machine is, what it is fast at, and whether what training computes on it can be trusted."""

from collections.abc import Iterator
from typing import get_args

from trivium.core.errors import MachineError
from trivium.core.world import cache_folder, cpu_flags, machine
from trivium.stages.machine import Machine, Precision


def examine() -> Iterator[str]:
    """Lines for the terminal. Raises MachineError after the last one if an error is larger than it may be."""
    import torch

    from trivium.nn.native.library import why_not

    facts = machine()
    yield f"machine    {facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB, {facts['system']}, Python {facts['python']}"
    units = sorted(flag for flag in cpu_flags() if flag.startswith(("avx512_bf16", "avx2", "avx512f", "amx")))
    yield f"torch      {torch.__version__}; vector units: {', '.join(units) or 'unknown'}"
    yield f"cache      {cache_folder()}"
    failed = []
    for precision in get_args(Precision):
        measured = Machine(precision=precision).measured()
        yield f"{precision:<10} {measured}"
        for name, error, limit in verdicts(measured):
            is_good = error <= limit
            failed += [] if is_good else [f"{name} in {precision}"]
            yield f"  {name:<22} error {error:.1e}, at most {limit:.0e}: {'ok' if is_good else 'TOO LARGE'}"
    chosen = Machine().measured()
    reason = why_not()
    yield f"kernels    {'ours in C++ work here' if reason is None else f'none of ours in C++: {reason}'}"
    yield f"chosen     {chosen}"
    if failed:
        raise MachineError(
            f"errors against float64 are too large in: {', '.join(failed)}; use another machine.precision or machine.device, "
            "and report this machine with the lines above"
        )


def verdicts(measured: Machine) -> Iterator[tuple[str, float, float]]:
    """Name, relative error against float64 and limit of every check, on the device and in the precision of a measured machine."""
    import torch

    from trivium.nn.model import DTYPES
    from trivium.train.selftest import CHECKS
    from trivium.train.selftest_fp8 import fp8_checks
    from trivium.train.selftest_native import native_checks

    device, dtype = torch.device(measured.device), DTYPES[measured.precision]
    for check in [*CHECKS, *(native_checks() if device.type == "cpu" else fp8_checks(device))]:
        if dtype in check.limits:
            yield check.name, check.error(device, dtype), check.limits[dtype]
