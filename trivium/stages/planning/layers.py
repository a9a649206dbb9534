"""One and two layers of a recipe's model, trained for a few updates on the GPU at hand: what a cluster of such GPUs will reach."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from statistics import median

from trivium.core.config import plain
from trivium.core.errors import ConfigError
from trivium.core.seeds import generator
from trivium.core.types import example
from trivium.nn.config import ModelConfig
from trivium.plan.calibration import LayerFit, line, load, shape_class, store
from trivium.plan.devices import Device, device_called
from trivium.plan.memory import Layout, Memory, memory
from trivium.stages.machine import Machine, device_name
from trivium.stages.planning.jobs import Job, shape_of

UPDATES, FIRST_UPDATES = 6, 2  # the first are not counted
ROWS = 1


def layer_fit(jobs: Sequence[Job], device: Device, *, with_calibration: bool) -> LayerFit | None:
    """What was measured of the largest training stage's layers on such a GPU; measured now if that is asked for.

    Raises ConfigError if the GPU at hand is another.
    """
    job = max((each for each in jobs if each.is_training and each.config), key=lambda each: each.work.flops, default=None)
    if job is None or job.config is None:
        return None
    seq_len = int(plain(job.stage)["seq_len"])
    work = shape_class(shape_of(job.config)) | {"seq_len": seq_len, "num_layers": job.config.num_layers}
    if not with_calibration:
        found = load({"gpu": device.name}, work)
        return LayerFit(**found) if found else None
    here = device_name(Machine().place())
    if device_called(here) != device:
        raise ConfigError(
            f"--calibrate measures the device at hand, which is '{here}', for a plan of {device.name}; run it on such a GPU: what it"
            " finds is kept, and the plan then uses it"
        )
    fit = measure(job.config, ROWS, seq_len, Machine().measured(), peak=device.bf16)
    store({"gpu": device.name}, work, asdict(fit))
    return fit


def measure(config: ModelConfig, rows: int, seq_len: int, machine: Machine, *, peak: float = 0.0) -> LayerFit:
    """Train one and two layers for a few updates of rows x seq_len tokens. peak: the data sheet's FLOP/s, if there is one. Loads torch."""
    (one, bytes_one), (two, bytes_two) = (_updated(config, layers, rows, seq_len, machine) for layers in (1, 2))
    seconds, layer_seconds = line(one, two)
    base_bytes, layer_bytes = line(bytes_one, bytes_two)
    fit = LayerFit(rows * seq_len, seconds, layer_seconds, base_bytes, layer_bytes)
    shape, layout = shape_of(config), Layout(rows=rows, seq_len=seq_len)
    bare: Memory = memory(shape, layout, has_margin=False)
    margin = (fit.memory_bytes(config.num_layers) - bare.states) / (bare.total - bare.states)
    work = shape.flops_per_token(seq_len, is_causal=False) * fit.tokens
    share = work / fit.step_seconds(config.num_layers) / peak if peak else 0.0
    return replace(fit, share=share, margin=max(1.0, margin))


def _updated(config: ModelConfig, num_layers: int, rows: int, seq_len: int, machine: Machine) -> tuple[float, float]:
    """(seconds of an update, bytes at the highest) of a model of so many layers."""
    import torch

    from trivium.data.pack import pack
    from trivium.learn.objectives import CrossEntropy
    from trivium.learn.optim.recipes import AdamW
    from trivium.learn.schedules import Schedule
    from trivium.nn.model import DTYPES, Model, initialise
    from trivium.nn.transformer import why_not_compile
    from trivium.train.trainer import Trainer

    place, shallow = machine.place(), replace(config, num_layers=num_layers, layer_kinds=config.layer_kinds[:num_layers])
    before = _highest_bytes(place, is_before=True)
    model = initialise(Model(shallow, compute_dtype=DTYPES[machine.precision]), 1).to(place)
    if place != "cpu" and machine.compile == "on" and why_not_compile(model.device) is None:
        model.compile_training()
    trainer = Trainer("calibration", model, CrossEntropy(), AdamW(lr=1e-4)(model), schedule=Schedule(), steps=UPDATES)
    draw, taken = generator(1, "calibration", num_layers), list[float]()
    for number in range(UPDATES):
        texts = [example(draw.integers(config.vocab_size, size=seq_len)) for _ in range(rows)]
        batches = pack([(text,) for text in texts], rows=rows, length=seq_len)
        started = time.perf_counter()
        trainer.step(number, batches)
        if place != "cpu":
            torch.accelerator.synchronize()
        taken.append(time.perf_counter() - started)
    return median(taken[FIRST_UPDATES:]), _highest_bytes(place) - before


def _highest_bytes(place: str, *, is_before: bool = False) -> float:
    """Of the device's memory, what was in use at one time since the call before; of a CPU what this process ever had."""
    import resource

    import torch

    if place == "cuda":
        if is_before:
            torch.cuda.reset_peak_memory_stats()
            return float(torch.cuda.memory_allocated())
        return float(torch.cuda.max_memory_allocated())
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
