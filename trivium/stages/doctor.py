"""doctor: what this machine is, what it is fast at, and a self-test of its numbers against float64."""

from collections.abc import Iterator

from trivium.core.world import cache_folder, cpu_flags, machine
from trivium.stages.machine import Machine

LIMITS = {"float32": 1e-4, "bfloat16": 3e-2}  # relative error of a product of 1024 terms; fp32 accumulates well below this


def examine() -> Iterator[str]:
    """Lines for the terminal; a failed self-test says so and what to do."""
    import torch

    facts = machine()
    yield f"machine    {facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB, {facts['system']}, Python {facts['python']}"
    units = sorted(flag for flag in cpu_flags() if flag.startswith(("avx512_bf16", "avx2", "avx512f", "amx")))
    yield f"torch      {torch.__version__}; vector units: {', '.join(units) or 'unknown'}"
    yield f"cache      {cache_folder()}"
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.randn(256, 1024, generator=generator, dtype=torch.float64) for _ in range(2))
    exact = a @ b.T
    for precision in ("float32", "bfloat16"):
        measured = Machine(precision=precision).measured()
        dtype = getattr(torch, precision)
        error = float(((a.to(dtype) @ b.to(dtype).T).double() - exact).abs().max() / exact.abs().max())
        verdict = (
            "ok"
            if error < LIMITS[precision]
            else f"too large (limit {LIMITS[precision]}): use machine.precision=float32 and report this machine"
        )
        yield f"{precision:<10} {measured.ceiling / 1e9:.0f} GFLOP/s with {measured.threads} threads, error {error:.1e} {verdict}"
    chosen = Machine().measured()
    yield f"chosen     {chosen.precision}, compile {chosen.compile}"
