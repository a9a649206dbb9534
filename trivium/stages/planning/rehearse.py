"""`trivium plan RECIPE --calibrate`: the recipe itself in small, with one and with two layers, tells how long it will take in full.

The data stages run as they are (of a large corpus the first documents), training stages for a few updates of their own size, in a
scratch folder. Seconds are then a line in the number of layers and in the number of updates, phases or sampled tokens. An untrained model
does not stop by itself, so its answers are cut where those of a trained one are expected to end.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from trivium.core.config import plain
from trivium.core.run import SPEED
from trivium.core.world import busy_seconds, num_cores
from trivium.plan.calibration import StageFit, load, store
from trivium.report.reading import number_of, read_record
from trivium.stages import pipeline
from trivium.stages.annotate import Annotate
from trivium.stages.base import Work
from trivium.stages.catalogue import AnyStage
from trivium.stages.demonstrate import Demonstrate
from trivium.stages.evaluate import Evaluate
from trivium.stages.finetune import Finetune
from trivium.stages.machine import Machine, device_name
from trivium.stages.planning.jobs import Job, extra_flops, jobs_of
from trivium.stages.prefer import Prefer
from trivium.stages.prepare import Prepare
from trivium.stages.pretrain import Pretrain
from trivium.stages.recipe import Recipe
from trivium.stages.reinforce import Reinforce
from trivium.stages.reward import Reward
from trivium.stages.sample import Sample
from trivium.stages.tokenize import Tokenize
from trivium.text.assets import ASSETS
from trivium.text.hub import is_hub
from trivium.text.read import files_of

DEPTHS = (1, 2)
STEPS, FIRST_STEPS = 10, 3  # updates of a stage, and those of them that are not counted
PHASES, FIRST_PHASES = 3, 1
MOST_PROMPTS = 2000  # of those whose answers are ranked, and of those that are held out
CROWDED = 0.05  # of the cores, taken by others
LIMIT = 50  # items of each task
LARGE_BYTES, DOCUMENTS = 256 << 20, 20_000  # of a corpus from so many bytes on, so many documents


def small(recipe: Recipe, number: int) -> Recipe:
    """The first (0) or second (1) rehearsal of a settled recipe."""
    expected = {job.name: max(1, job.sequence_tokens // 2) for job in jobs_of(recipe)}
    stages = {name: _small(stage, number, expected[name]) for name, stage in recipe.stages.items()}
    return replace(recipe, name="rehearsal", stages=stages, save_every_s=3600.0)


def calibrate(recipe: Recipe) -> dict[str, StageFit]:
    """Run both rehearsals of a settled recipe, whose machine is measured, and keep what they tell. Raises what a run does."""
    seen: list[dict[str, tuple[Job, float, float]]] = []
    started, (all_before, own_before) = time.perf_counter(), busy_seconds()
    with tempfile.TemporaryDirectory(prefix="trivium-rehearsal-") as scratch:
        folder = Path(scratch) / "run"
        for number in range(len(DEPTHS)):
            rehearsal = small(recipe, number)
            before = _lines(folder)
            pipeline.execute(rehearsal, folder, quiet=True)
            seen.append(_seen(folder, jobs_of(rehearsal), before))
        factors = _factors(recipe, folder)
    fits = {job.name: _fit(job, *(each[job.name] for each in seen)) for job in jobs_of(recipe)}
    fits = {name: StageFit(fit.fixed * factor, fit.per_unit) for name, fit in fits.items() if (factor := factors.get(name, 1.0))}
    everybody, own = busy_seconds()
    others = ((everybody - all_before) - (own - own_before)) / (time.perf_counter() - started) / num_cores()
    found = {"stages": {name: plain(fit) for name, fit in fits.items()}, "others": round(max(0.0, others), 3)}
    store(_machine(recipe.machine), _work(recipe), found)
    return fits


def known_fits(recipe: Recipe) -> dict[str, StageFit]:
    """What an earlier calibration of this recipe on this machine tells, whatever its number of updates; empty if there was none."""
    found = load(_machine(recipe.machine), _work(recipe)) or {}
    return {name: StageFit(**each) for name, each in found.get("stages", {}).items()}


def caution(recipe: Recipe) -> str:
    """A line if other processes were at work while it was rehearsed; empty if they were not, or if it was not."""
    others = float((load(_machine(recipe.machine), _work(recipe)) or {}).get("others", 0.0))
    if others < CROWDED:
        return ""
    return f"caution: other processes took {others:.0%} of the cores while this was rehearsed, so the times are too long; calibrate again"


def units(job: Job) -> float:
    """What the time of a stage grows with: phases, updates (also those that its readings are worth), arithmetic; 0 if timed whole."""
    if isinstance(job.stage, Reinforce):
        return job.stage.phases
    if job.is_training:
        extra = extra_flops(job)
        return job.updates * (1 + extra / max(1.0, job.work.flops - extra)) + _measured(job)
    return arithmetic(job.work)


def arithmetic(work: Work) -> float:
    """Operations of a stage that samples or reads."""
    return 2 * work.parameters_sampled * work.tokens_generated + work.flops


def _measured(job: Job) -> float:
    """What pre-training reads of held-out text, in updates: a forward pass is a third of one."""
    if not isinstance(job.stage, Pretrain):
        return 0.0
    times = 1 + (job.stage.steps - job.stage.first_step) // job.stage.evaluate_every
    return times * job.stage.evaluate_rows * job.stage.seq_len / 3 / job.update_tokens


def _small(stage: AnyStage, number: int, answer_tokens: int) -> AnyStage:
    """A stage in small; what it does not change is done as a whole."""
    if isinstance(stage, Prepare) and _is_large(stage.sources):
        return replace(stage, max_documents=DOCUMENTS, pieces="")
    if isinstance(stage, Pretrain):
        steps = stage.first_step + STEPS
        depth = stage.depth if stage.model or stage.preset else min(stage.depth, DEPTHS[number])
        return replace(stage, depth=depth, steps=steps, time_budget="", evaluate_every=steps, keep_every=0)
    if isinstance(stage, Finetune):
        return replace(stage, steps=STEPS, epochs=0.0)
    if isinstance(stage, Reward | Prefer):
        return replace(stage, steps=STEPS)
    if isinstance(stage, Demonstrate):
        most = {"num_comparisons": min(stage.num_comparisons, MOST_PROMPTS), "num_heldout": min(stage.num_heldout, MOST_PROMPTS)}
        return replace(stage, **most)
    if isinstance(stage, Evaluate):
        return replace(stage, sampling=_shorter(stage.sampling, answer_tokens), limit=LIMIT if stage.tasks else stage.limit)
    if isinstance(stage, Reinforce):
        return replace(stage, phases=PHASES, sampling=_shorter(stage.sampling, answer_tokens), rollouts="")
    if isinstance(stage, Annotate | Sample):
        return replace(stage, sampling=_shorter(stage.sampling, answer_tokens))
    return stage


def _shorter(sampling: Any, answer_tokens: int) -> Any:
    return replace(sampling, max_new_tokens=min(sampling.max_new_tokens, answer_tokens))


def _seen(folder: Path, jobs: Sequence[Job], before: Mapping[str, int]) -> dict[str, tuple[Job, float, float]]:
    """Of each stage (job, fixed seconds, seconds of a unit); before: rows of speed.jsonl that an earlier rehearsal left."""
    record, found = read_record(folder), {}
    for job in jobs:
        whole = number_of(record.facts[job.name].get("seconds")) or 0.0
        rows = list(record.speed.get(job.name, ()))[before.get(job.name, 0) :]
        steps = [row["seconds"] or 0.0 for row in rows]
        each = 0.0
        if isinstance(job.stage, Reinforce):
            length = len(steps) // PHASES
            each = sum(steps[FIRST_PHASES * length :]) / max(1, PHASES - FIRST_PHASES)
        elif steps:
            each = median(steps[FIRST_STEPS:])
        found[job.name] = job, max(0.0, whole - each * units(job)) if each else whole, each
    return found


def _fit(job: Job, one: tuple[Job, float, float], two: tuple[Job, float, float]) -> StageFit:
    """What two rehearsals tell of a stage in full."""
    (first, fixed, each), (second, fixed_two, each_two) = one, two
    if each and each_two:
        return StageFit(_at_depth(job, first, second, fixed, fixed_two), _at_depth(job, first, second, each, each_two))
    x, x_two = units(first), units(second)
    if x_two <= x:
        return StageFit((fixed + fixed_two) / 2, 0.0)
    slope = min(max(0.0, (fixed_two - fixed) / (x_two - x)), fixed_two / x_two)  # nothing takes less than no time at none
    return StageFit(fixed_two - slope * x_two, slope)


def _at_depth(job: Job, first: Job, second: Job, one: float, two: float) -> float:
    """Along the line through the depths of two rehearsals, at most in proportion; their mean if the depths are the same."""
    depth, low, high = (each.config.num_layers if each.config else 0 for each in (job, first, second))
    if high == low:
        return (one + two) / 2
    return min(two * depth / high, two + max(0.0, two - one) * (depth - high) / (high - low))


def _factors(recipe: Recipe, folder: Path) -> dict[str, float]:
    """How much more text the stages that read a large corpus have in full, by its files; 0 where nobody knows."""
    facts, found = read_record(folder).facts, dict[str, float]()
    for name, stage in recipe.stages.items():
        if isinstance(stage, Prepare) and _is_large(stage.sources):
            size = sum(file.stat().st_size for file in _files(stage.sources))
            found[name] = size / max(1.0, number_of(facts[name].get("bytes")) or 1.0)
        elif isinstance(stage, Tokenize) and stage.corpus.startswith("@"):
            found[name] = found.get(stage.corpus[1:].split("/")[0], 1.0)
    return found


def _is_large(sources: Sequence[str]) -> bool:
    """Whether a corpus is too large to be read for a plan."""
    return any(map(is_hub, sources)) or sum(file.stat().st_size for file in _files(sources)) > LARGE_BYTES


def _files(sources: Sequence[str]) -> list[Path]:
    named = [source for source in sources if not (source in ASSETS or is_hub(source) or source.startswith("@"))]
    return [file for source in named for file in files_of(source)]


def _lines(folder: Path) -> dict[str, int]:
    """Rows of speed.jsonl by stage."""
    if not (folder / SPEED).is_file():
        return {}
    return {stage: len(rows) for stage, rows in read_record(folder).speed.items()}


def _machine(machine: Machine) -> dict[str, Any]:
    return {name: value for name, value in plain(machine).items() if name != "ceiling"} | {"called": device_name(machine.device)}


def _work(recipe: Recipe) -> dict[str, Any]:
    """What the rehearsals do, and for how many layers: the same for a recipe with more updates."""
    depths = {job.name: job.config.num_layers for job in jobs_of(recipe) if job.config is not None}
    return {"stages": [_timed(small(recipe, number)) for number in range(len(DEPTHS))], "depths": depths}


def _timed(rehearsal: Recipe) -> dict[str, Any]:
    """The options without learning rates, which follow from the number of updates and change no time."""
    stages = {name: plain(stage) for name, stage in rehearsal.stages.items()}
    return {name: {**each, "optimizer": (each.get("optimizer") or {}).get("kind")} for name, each in stages.items()}
