"""What the stages that train one model from a list of groups have in common: foresee, train, save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trivium.core.run import Run
from trivium.core.world import world
from trivium.learn.objectives import Objective
from trivium.nn.config import ModelConfig
from trivium.nn.flops import flops_per_token, num_parameters, training_memory_bytes
from trivium.nn.io.config_json import GUEST
from trivium.nn.lora import LoRA
from trivium.stages.base import Foresight, Work

if TYPE_CHECKING:
    from trivium.stages.finetune import Finetune
    from trivium.stages.prefer import Prefer
    from trivium.stages.pretrain import Pretrain
    from trivium.stages.reinforce import Reinforce
    from trivium.stages.reward import Reward
    from trivium.train.trainer import Trainer

    Trains = Pretrain | Finetune | Reward | Prefer | Reinforce


def foresee_training(
    options: Trains, name: str, config: ModelConfig, known: Foresight, *, tokens: int, is_packed: bool = True,
    lora: LoRA | None = None,
) -> Work:  # fmt: skip
    """The work of training a model of this shape on so many tokens; later stages may start from it."""
    known.models[name] = config
    memory = training_memory_bytes(
        config, options.micro_batch_rows, options.seq_len, options.optimizer.kind, compute_bytes=known.compute_bytes, is_packed=is_packed
    )
    if lora is not None:
        memory -= lora.saved_bytes(config)
    return Work(num_parameters(config), tokens, flops=tokens * _flops(config, options.seq_len, lora), memory_bytes=memory)


def trainer_of(run: Run, options: Trains, speaker: Any, objective: Objective, *, reference: Any = None) -> Trainer:
    """What trains the speaker's model; with several ranks its weights are spread from now on. reference: see Trainer."""
    from trivium.stages.computing.models import machine_of
    from trivium.train.trainer import Trainer

    return Trainer(
        "policy", speaker.model, objective, options.optimizer(speaker.model), schedule=options.schedule, steps=options.steps,
        max_grad_norm=options.max_grad_norm, reference=reference, is_exact=machine_of(run).exact,
    )  # fmt: skip


def train(
    run: Run, options: Trains, speaker: Any, trainer: Trainer, source: Any, *, tokens: int, hooks: Sequence[Any] = (),
    lora: LoRA | None = None, companions: Sequence[Any] = (), first_step: int = 0,
) -> Mapping[str, Any]:  # fmt: skip
    """Train the speaker's model on the groups of a source, from the newest checkpoint if there is one; returns facts for the report.

    companions: see Checkpoints. first_step: see fit.
    """
    from trivium.stages.computing.models import machine_of, say_what_is_slower
    from trivium.train.checkpoint import Checkpoints
    from trivium.train.fit import Layout, fit
    from trivium.train.meter import Yardstick

    model, machine = speaker.model, machine_of(run)
    is_guest = model.config.family == GUEST  # whose matrices are not known one by one: all of its weights are counted
    flops = 6 * model.num_parameters if is_guest else _flops(model.config, options.seq_len, lora)
    say_what_is_slower(run, model)
    fit(
        run, source, [trainer], steps=options.steps, layout=Layout(options.micro_batch_rows, options.seq_len),
        checkpoints=Checkpoints(run, companions=companions), hooks=hooks, first_step=first_step,
        yardstick=Yardstick(flops, world().size * machine.ceiling, world().size * machine.peak()),
    )  # fmt: skip
    return {"parameters": model.num_parameters, "tokens": tokens, "flops": tokens * flops}


def save(run: Run, speaker: Any, lora: LoRA | None = None) -> None:
    """Commit the stage's model, and beside it the adapter it was merged with. The checkpoints stay until the stage is marked complete."""
    if lora is not None:
        from trivium.nn.adapter import merge
        from trivium.nn.io.peft import save_adapter

        speaker.model.gather()
        if run.is_main:
            save_adapter(run.folder / "adapter", speaker.model, lora, base=speaker.base)
        merge(speaker.model)
        speaker.model.source = None  # it has its weights itself now
    leave_model(run, speaker, run.folder / "model")


def leave_model(run: Run, speaker: Any, path: Path) -> None:
    """Commit a model directory with the weights of now; of several ranks the first does."""
    with speaker.model.on_host(is_needed=run.is_main):
        if run.is_main:
            speaker.save(path)


def _flops(config: ModelConfig, seq_len: int, lora: LoRA | None) -> int:
    return flops_per_token(config, seq_len) if lora is None else lora.flops_per_token(config, seq_len)
