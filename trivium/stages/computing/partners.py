"""Who speaks and listens while a policy learns online: its sampler, its reference, a critic, a teacher, an opponent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trivium.core.errors import ConfigError
from trivium.core.run import Run
from trivium.generate.engine import Engine
from trivium.learn.objectives import GKD, CrossEntropy
from trivium.nn.adapter import frozen_reference
from trivium.nn.io.config_json import GUEST
from trivium.nn.model import Model
from trivium.stages.computing.judges import Judges, in_parts
from trivium.stages.computing.models import Speaker, check_reader, engine_of, same_tokenizer
from trivium.stages.computing.recorded import Recorded
from trivium.stages.computing.rollouts import Column, Rollouts, Speaks
from trivium.stages.computing.shared import SharedEngine, share_of, shared_column
from trivium.train.annotate import column_of, logprobs, values
from trivium.train.beside import Beside

if TYPE_CHECKING:
    from trivium.stages.reinforce import Reinforce


def rollouts_of(
    stage: Reinforce, run: Run, policy: Speaker, judges: Judges, teacher: Model | None, sampler: Speaks | None = None
) -> Rollouts:
    """The source that a policy learns from, with everyone who takes part in it. The policy as it is now is the reference.

    sampler: who answers, if it is not an engine of ours here.
    """
    size = {"rows": stage.micro_batch_rows, "length": stage.seq_len}
    reference, critic = in_parts(stage, run, frozen_reference(policy.model, is_later=stage.is_read_in_parts)), judges.critic
    rows, mixture, share = stage.prompts_per_phase * stage.answers, stage.opponent, share_of(run)

    def said_by(model: Model) -> Column:
        return shared_column(share, model, lambda own: column_of(model, own, logprobs, temperature=stage.sampling.temperature, **size))

    def valued_by(model: Model) -> Column:
        return shared_column(share, model, lambda own: column_of(model, own, values, **size))

    engine = sampler or SharedEngine(engine_of(run, policy, rows=rows, precision=None if stage.sampler == "auto" else stage.sampler), share)
    return Rollouts(
        options=stage,
        engine=Recorded(engine, Path(stage.rollouts), stage.engine.max_lag > 0, run.is_main, run.mark) if stage.rollouts else engine,
        prompts=judges.prompt_ids,
        seed=run.seed,
        score=judges.score,
        reference=said_by(reference),
        values=None if critic is None else valued_by(critic),
        teacher=None if teacher is None else said_by(teacher),
        opponent=None if mixture is None else SharedEngine(_opponent(run, policy, reference, mixture, rows=rows), share),
        trainer=said_by(policy.model) if stage.is_read_again else None,
        parts=judges.means if stage.rewards else None,
        truth=judges.true_score if stage.truth else None,
        watched=judges.heldout_score if stage.guard.models else None,
        log=run.log_once,
        max_lag=stage.engine.max_lag,
    )


def teacher_of(stage: Reinforce, run: Run, policy: Speaker, prompts: Sequence[np.ndarray]) -> Model | None:
    """The frozen model that says how probable the policy's answers are, if the policy is to have one.

    Raises ArtefactError for another tokenizer, DataError for too short a context, and ConfigError if its distributions are to be compared
    with the policy's, and cannot be.
    """
    if not stage.teacher:
        return None
    teacher = Speaker.of(run, stage.teacher, is_later=stage.is_read_in_parts and not isinstance(stage.objective, GKD))
    same_tokenizer(policy, teacher)
    check_reader(prompts, stage.sampling, policy, teacher)
    ours, theirs = policy.model.config, teacher.model.config
    if isinstance(stage.objective, GKD) and (ours.vocab_size != theirs.vocab_size or (ours.family == GUEST) != (theirs.family == GUEST)):
        raise ConfigError(
            f"teacher: {stage.teacher} is a {theirs.family} of {theirs.vocab_size:,} words, the policy a {ours.family} of"
            f" {ours.vocab_size:,}; gkd compares word by word, and guests with guests only; credit=distillation asks only for what was said"
        )
    model = teacher.model.requires_grad_(False)
    return model if isinstance(stage.objective, GKD) else in_parts(stage, run, model)  # which the trainer cuts itself


def beside_of(stage: Reinforce, run: Run, policy: Speaker) -> Beside | None:
    """What each update learns beside the rewards, if anything."""
    if stage.replay is None:
        return None
    source = stage.replay.source(run, policy, seq_len=stage.seq_len, rows=stage.rows_replayed)
    return Beside("replay", source, CrossEntropy(), stage.replay.coef, rows=stage.micro_batch_rows, length=stage.seq_len)


def _opponent(run: Run, policy: Speaker, reference: Model, share: float, *, rows: int) -> Engine:
    """What samples from the policy to the power of 1 - share times the reference to the power of share, token by token."""
    if share == 1:
        return engine_of(run, replace(policy, model=reference), rows=rows)
    return engine_of(run, policy, rows=rows, weight=1 - share, others=[(reference, share)] if share else [])
