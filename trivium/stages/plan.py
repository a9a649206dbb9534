"""--dry-run: what a recipe will take, before it takes it. The machine's ceiling is measured, the shares of it are assumed (LOG.md)."""

from dataclasses import replace

from trivium.report.units import count, duration, flops, size
from trivium.stages.base import Foresight, Work
from trivium.stages.machine import Machine
from trivium.stages.recipe import Recipe
from trivium.stages.settle import settle

DECODE_SHARE = {"native": 0.25, "torch": 0.11}  # of the ceiling, that sampling reaches: one position at a time
START_S = 4.0  # importing torch and measuring the machine


def plan(recipe: Recipe) -> str:
    """A table of the stages: parameters, tokens, FLOPs, memory, and an estimate of the time."""
    machine = recipe.machine.measured()
    recipe, derived = settle(replace(recipe, machine=machine))
    known = Foresight(compute_bytes=4 if machine.precision == "float32" or machine.kernels == "native" else 2)
    lines = [f"{'stage':<12}{'parameters':>12}{'trained':>10}{'generated':>11}{'FLOPs':>11}{'memory':>10}  {'time':>12}"]
    total = START_S
    for name, stage in recipe.stages.items():
        work = stage.foresee(name, known)
        taken = seconds(work, machine, is_pretraining=stage.kind == "pretrain")
        total += taken
        cells = (
            _or_blank(work.parameters, count),
            _or_blank(work.tokens_trained, count),
            _or_blank(work.tokens_generated, count),
            _or_blank(work.flops, flops),
            _or_blank(work.memory_bytes, size),
        )
        lines.append(f"{name:<12}{cells[0]:>12}{cells[1]:>10}{cells[2]:>11}{cells[3]:>11}{cells[4]:>10}  {duration(taken):>12}")
    lines.append(f"{'all':<12}{'':>56}{duration(total):>12}")
    lines.append(f"measured here: {machine}")
    before, after = (f"{machine.seconds_for(machine.ceiling, is_pretraining=first) ** -1:.0%}" for first in (True, False))
    lines.append(f"assumed: {before} of the ceiling in pre-training, {after} in later training, {_decode_share(machine):.0%} in sampling")
    return "\n".join(lines + [""] * bool(derived) + derived)


def seconds(work: Work, machine: Machine, *, is_pretraining: bool) -> float:
    """Time estimate of one stage."""
    decoding = 2 * work.parameters_sampled * work.tokens_generated / (_decode_share(machine) * machine.ceiling)
    return work.seconds + machine.seconds_for(work.flops, is_pretraining=is_pretraining) + decoding


def _decode_share(machine: Machine) -> float:
    return DECODE_SHARE["native" if machine.kernels == "native" else "torch"]


def _or_blank(value: float, show: object) -> str:
    return show(value) if value and callable(show) else ""
