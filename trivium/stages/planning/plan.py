"""--dry-run and `trivium plan` on this machine: what a recipe will take, before it takes it.

Where the recipe was rehearsed here (`trivium plan RECIPE --calibrate`), times come from that; else the machine's ceiling is measured and
the shares of it are assumed (LOG.md).
"""

from dataclasses import dataclass, replace
from pathlib import Path

from trivium.plan.calibration import StageFit
from trivium.plan.figures import Tag
from trivium.report.reading import number_of, read_record
from trivium.report.units import count, duration, flops, size
from trivium.stages.base import Work
from trivium.stages.machine import Machine
from trivium.stages.planning.jobs import Job, jobs_of
from trivium.stages.planning.rehearse import calibrate, caution, known_fits, units
from trivium.stages.recipe import Recipe
from trivium.stages.settle import settle

DECODE_SHARE = {"native": 0.25, "torch": 0.11}  # of the ceiling, that sampling reaches: one position at a time
START_S = 4.0  # importing torch and measuring the machine


@dataclass(frozen=True, slots=True)
class Expected:
    """A stage with the time that it is expected to take, and where this comes from."""

    job: Job
    seconds: float
    tag: Tag


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a recipe takes on this machine. derived: lines of values that nobody gave; caution: why it may be wrong."""

    machine: Machine
    stages: tuple[Expected, ...]
    derived: tuple[str, ...]
    caution: str = ""

    @property
    def seconds(self) -> float:
        """Of the whole command."""
        return START_S + sum(each.seconds for each in self.stages)


def outlook(recipe: Recipe, *, with_rehearsal: bool = False) -> Outlook:
    """Loads torch to measure the machine; with_rehearsal: runs the recipe in small first."""
    machine = recipe.machine.measured()
    settled, derived = settle(replace(recipe, machine=machine))
    fits = calibrate(settled) if with_rehearsal else known_fits(settled)
    compute_bytes = 4 if machine.precision == "float32" or machine.kernels == "native" else 2
    stages = tuple(_expected(job, machine, fits.get(job.name)) for job in jobs_of(settled, compute_bytes=compute_bytes))
    return Outlook(machine, stages, tuple(derived), caution(settled))


def plan(recipe: Recipe, *, with_rehearsal: bool = False) -> str:
    """A table of the stages: parameters, tokens, FLOPs, memory, and an estimate of the time."""
    found = outlook(recipe, with_rehearsal=with_rehearsal)
    machine = found.machine
    header = f"{'stage':<12}{'parameters':>12}{'trained':>10}{'generated':>11}{'FLOPs':>11}{'memory':>10}  {'time':>12}"
    lines, notes = [header], list[str]()
    for each in found.stages:
        name, work = each.job.name, each.job.work
        sizes = ((work.parameters, count), (work.tokens_trained, count), (work.tokens_generated, count), (work.flops, flops))
        cells = [show(value) if value else "" for value, show in (*sizes, (work.memory_bytes, size))]
        notes += [f"{name}: {note}" for note in work.notes if note]
        row = f"{name:<12}{cells[0]:>12}{cells[1]:>10}{cells[2]:>11}{cells[3]:>11}{cells[4]:>10}  {duration(each.seconds):>12}"
        lines.append(f"{row}  {each.tag}")
    lines.append(f"{'all':<12}{'':>56}{duration(found.seconds):>12}")
    lines.append(f"measured here: {machine}")
    before, after = (f"{machine.seconds_for(machine.ceiling, is_pretraining=first) ** -1:.0%}" for first in (True, False))
    if any(each.tag == "assumed" for each in found.stages):
        lines.append(
            f"assumed: {before} of the ceiling in pre-training, {after} in later training, {_decode_share(machine):.0%} in sampling"
        )
    lines += [found.caution] * bool(found.caution)
    return "\n".join(lines + notes + [""] * bool(found.derived) + list(found.derived))


def against(recipe: Recipe, folder: Path, *, with_rehearsal: bool = False) -> str:
    """A table of what each stage of a run was expected to take and what it took."""
    found, facts = outlook(recipe, with_rehearsal=with_rehearsal), read_record(folder).facts
    lines, expected, took = [f"{'stage':<12}{'planned':>14}{'took':>14}{'difference':>12}"], 0.0, 0.0
    for each in found.stages:
        seconds = number_of(facts.get(each.job.name, {}).get("seconds"))
        if seconds is not None:
            expected, took = expected + each.seconds, took + seconds
        lines.append(f"{each.job.name:<12}{_compared(each.seconds, seconds)}  {each.tag}")
    lines.append(f"{'all':<12}{_compared(expected, took or None)}  of the stages that are complete")
    return "\n".join([*lines, *[found.caution] * bool(found.caution)])


def seconds(work: Work, machine: Machine, *, is_pretraining: bool) -> float:
    """Time estimate of one stage that nobody rehearsed."""
    decoding = 2 * work.parameters_sampled * work.tokens_generated / (_decode_share(machine) * machine.ceiling)
    return work.seconds + machine.seconds_for(work.flops, is_pretraining=is_pretraining) + decoding


def _expected(job: Job, machine: Machine, fit: StageFit | None) -> Expected:
    if fit is None:
        return Expected(job, seconds(job.work, machine, is_pretraining=job.stage.kind == "pretrain"), "assumed")
    return Expected(job, fit.seconds(units(job)), "calibrated" if fit.per_unit else "measured")


def _compared(expected: float, took: float | None) -> str:
    if took is None:
        return f"{duration(expected):>14}{'':>26}"
    return f"{duration(expected):>14}{duration(took):>14}{expected / took - 1 if took else 0.0:>+12.0%}"


def _decode_share(machine: Machine) -> float:
    return DECODE_SHARE["native" if machine.kernels == "native" else "torch"]
