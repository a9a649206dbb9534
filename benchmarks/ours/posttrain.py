"""trivium's post-training through nn, learn, data, generate, train and the on-policy source, an update a tick."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.rounds import Rounds, clock_of, options, peak_bytes
from trivium.core.types import Example, Group, example
from trivium.core.world import prepare_environment


def train(want: dict[str, Any], rounds: Rounds) -> None:
    """Train until nothing more is wanted, as the stage of this work does; what is not named in `want` is the default."""
    from trivium.nn.io.directory import load_model
    from trivium.nn.model import DTYPES
    from trivium.stages.computing.models import sampling_precision, with_kernels
    from trivium.stages.machine import Machine

    machine = Machine(threads=want["threads"], **want["machine"]).measured()
    model = load_model(Path(want["model"]), compute_dtype=DTYPES[machine.precision], has_scalar=want["work"] == "reward")
    with_kernels(model, machine)
    want["engine"] = {"precision": sampling_precision(machine, model), **want.get("engine", {})}
    rows = json.loads(Path(want["data"]).read_text(encoding="utf-8"))
    {"sft": _sft, "dpo": _dpo, "reward": _reward, "grpo": _grpo}[want["work"]](want, model, rows, rounds)


def _trainer(model: Any, objective: Any, **more: Any) -> Any:
    from trivium.learn.optim.recipes import AdamW
    from trivium.learn.schedules import Schedule
    from trivium.train.trainer import Trainer

    return Trainer("policy", model, objective, AdamW(lr=1e-6)(model), schedule=Schedule(), steps=1_000_000, **more)


def _answer(prompt: Sequence[int], answer: Sequence[int], **columns: float) -> Example:
    """A prompt and an answer, which alone counts."""
    mask = np.repeat([0.0, 1.0], [len(prompt), len(answer)])
    return example([*prompt, *answer], mask, **{name: np.full(len(mask), value) for name, value in columns.items()})


def _pair(row: dict[str, list[int]]) -> Group:
    return (_answer(row["prompt"], row["chosen"], rank=0), _answer(row["prompt"], row["rejected"], rank=1))


def _in_order(groups: Sequence[Group], count: int, step: int) -> list[Group]:
    """The groups of step n, as the peer reads them."""
    return [groups[(step * count + i) % len(groups)] for i in range(count)]


def _sft(want: dict[str, Any], model: Any, rows: list[dict[str, list[int]]], rounds: Rounds) -> None:
    from trivium.data.pack import pack
    from trivium.learn.objectives import CrossEntropy

    groups, trainer, step, amount = [(_answer(row["prompt"], row["answer"]),) for row in rows], _trainer(model, CrossEntropy()), 0, 0
    while True:
        rounds.facts = {"peak_bytes": peak_bytes("cpu")}
        rounds.tick(amounts=amount)
        found = _in_order(groups, want["rows"], step)
        amount = sum(len(item.tokens) for [item] in found)
        trainer.step(step, pack(found, rows=want["micro_batch_rows"], length=want["seq_len"]))
        step += 1


def _dpo(want: dict[str, Any], model: Any, rows: list[dict[str, list[int]]], rounds: Rounds) -> None:
    """The reference reads each pair once, as in one epoch; it is the model as it is now, which costs the same."""
    from trivium.data.pack import pack
    from trivium.learn.objectives.preference import DPO
    from trivium.train.annotate import annotate, logprobs

    groups, trainer, step = list(map(_pair, rows)), _trainer(model, DPO()), 0
    size = {"rows": want["micro_batch_rows"], "length": want["seq_len"]}
    while True:
        rounds.facts = {"peak_bytes": peak_bytes("cpu")}
        rounds.tick(amounts=want["rows"])
        found = annotate(_in_order(groups, want["rows"], step), model, "ref_logprobs", logprobs, **size)
        trainer.step(step, pack(found, **size))
        step += 1


def _reward(want: dict[str, Any], model: Any, rows: list[dict[str, list[int]]], rounds: Rounds) -> None:
    from trivium.data.pack import pack
    from trivium.learn.objectives.ranking import Ranking

    groups, trainer, step = list(map(_pair, rows)), _trainer(model, Ranking()), 0
    while True:
        rounds.facts = {"peak_bytes": peak_bytes("cpu")}
        rounds.tick(amounts=want["rows"])
        trainer.step(step, pack(_in_order(groups, want["rows"], step), rows=want["micro_batch_rows"], length=want["seq_len"]))
        step += 1


def _grpo(want: dict[str, Any], model: Any, rows: list[dict[str, list[int]]], rounds: Rounds) -> None:
    """A phase and its one update, by the options of DAPO, which is what TRL does if nothing is said."""
    from trivium.data.pack import pack
    from trivium.generate.engine import Engine
    from trivium.generate.sampling import Sampling
    from trivium.learn.credit import GroupMean
    from trivium.learn.objectives.policy import PolicyGradient
    from trivium.nn.adapter import frozen_reference
    from trivium.stages.computing.rollouts import Rollouts
    from trivium.stages.reinforce import Reinforce
    from trivium.train.annotate import column_of, logprobs

    stage = Reinforce(
        model="", prompts="", phases=1_000_000, prompts_per_phase=want["prompts"], answers=want["answers"], passes=1, minibatches=1,
        credit=GroupMean(scale="std"), objective=PolicyGradient(clip_high=0.28), kl_coef=0.0,
        sampling=Sampling(max_new_tokens=want["new_tokens"]),
    )  # fmt: skip
    size, reference = {"rows": want["micro_batch_rows"], "length": want["seq_len"]}, frozen_reference(model)
    engine = _Timed(Engine(model, stop_ids=(), rows=want["prompts"] * want["answers"], **want["engine"]), clock_of(want))
    rollouts = Rollouts(
        options=stage, engine=engine, prompts=[np.array(row["prompt"], np.int32) for row in rows], seed=1, score=_sevens,
        reference=lambda answers: column_of(reference, answers, logprobs, **size),
    )  # fmt: skip
    trainer, step = _trainer(model, stage.objective, max_length=want["new_tokens"]), 0
    while True:
        rounds.facts = {"peak_bytes": peak_bytes("cpu")}
        rounds.tick(amounts=want["prompts"] * want["answers"] * want["new_tokens"], sampling=engine.seconds)
        engine.seconds = 0.0
        trainer.step(step, pack(rollouts(step), **size))
        step += 1


def _sevens(answers: Sequence[Example], _: Sequence[int]) -> np.ndarray:
    """The rule: how many sevens are in an answer, whose words are their numbers."""
    return np.array([" ".join(f"w{token}" for token in answer.response).count("7") for answer in answers], np.float64)


class _Timed:
    """An engine that knows how long it sampled."""

    def __init__(self, engine: Any, clock: Callable[[], float]) -> None:
        self.engine, self.clock, self.seconds = engine, clock, 0.0

    def generate(self, *arguments: Any, **more: Any) -> list[Example]:
        """See Engine; nothing stops an answer, so each counts as finished."""
        start = self.clock()
        found = self.engine.generate(*arguments, **more)
        self.seconds += self.clock() - start
        return [replace(each, meta={**each.meta, "stopped": True}) for each in found]


if __name__ == "__main__":
    prepare_environment()
    wanted = options()
    train(wanted, Rounds(clock=clock_of(wanted)))
