"""A policy that is sampled elsewhere: its weights are published once a phase, and phases are asked for ahead, as far as the lag allows.

Phase p is drawn under the weights of after phase p - 1 - max_lag, or of the start: a function of (seed, p, weights), so how long things
take changes nothing, and a checkpoint with the answers that are there already is enough to go on with the same bits. Not with in_flight.
Of several trainer ranks the first one publishes and asks, and tells the others what it was answered.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trivium.core.config import plain
from trivium.core.run import Run
from trivium.core.types import Example
from trivium.generate.own_sampler import OwnSampler
from trivium.generate.remote import VLLM
from trivium.generate.samplers import Batch, Samplers, Server, Weights
from trivium.generate.sampling import Sampling
from trivium.nn.adapter import fingerprint, merge
from trivium.stages.base import resolve
from trivium.stages.computing.judges import Judges
from trivium.stages.computing.models import Speaker, engine_of, machine_of
from trivium.stages.phases import prompts_of
from trivium.stages.samplers import InProcess, OtherProcess, Servers
from trivium.train.ranks import heard, made_once

if TYPE_CHECKING:
    from trivium.stages.reinforce import Reinforce

FOLDER = ".weights"  # hidden: no output of the stage
COLUMNS = ("old_logprobs", "policy_step")
NAMES = ("tokens", "loss_mask", *COLUMNS, "lengths", "prompts", "stopped")  # of the tensors of a phase in a checkpoint


class Separate:
    """What Rollouts asks instead of an engine, on every rank. asked: the prompts of a phase, one for each answer."""

    name = "samplers"

    def __init__(
        self, run: Run, policy: Speaker, samplers: Samplers, asked: Callable[[int], list[np.ndarray]], *, max_lag: int, phases: int
    ) -> None:
        self._policy, self._samplers, self._asked, self._max_lag, self._phases = policy, samplers, asked, max_lag, phases
        self._folder = run.folder.resolve() / FOLDER
        self._ready: dict[int, list[Example]] = {}
        self._pending: dict[int, Future[list[Example]]] = {}
        self._published, self._is_main = -1, run.is_main
        if self._is_main:
            shutil.rmtree(self._folder, ignore_errors=True)

    def generate(self, prompts: Sequence[np.ndarray], sampling: Sampling, *, seed: int, purpose: str, step: int) -> list[Example]:
        """Answers to prompts, as those of Engine.generate, with the column policy_step; those of a phase may be there already."""
        batch = Batch(prompts, sampling, seed, purpose, step)
        unasked = self._unasked(batch)
        if heard(bool(unasked) and step != self._published):
            with self._policy.model.on_host(is_needed=self._is_main):
                if self._is_main:
                    self._publish(step)
        return made_once(partial(self._answered, batch, unasked))

    def _unasked(self, batch: Batch) -> list[Batch]:
        """What is to be asked for now: what the scores of a phase make needed, or the phases from this one on; as rank 0 sees it."""
        if batch.purpose != "rollout":
            return [batch]
        ahead = range(batch.step, min(batch.step + self._max_lag + 1, self._phases))
        phases = [phase for phase in ahead if phase not in self._ready and phase not in self._pending]
        return [batch if phase == batch.step else replace(batch, prompts=self._asked(phase), step=phase) for phase in phases]

    def _answered(self, batch: Batch, unasked: Sequence[Batch]) -> list[Example]:
        asked = {each.step: self._samplers.submit(each) for each in unasked}
        if batch.purpose != "rollout":
            return asked[batch.step].result()
        self._pending |= asked
        self._wait(batch.step)
        return self._ready.pop(batch.step)

    def state(self) -> dict[str, Tensor]:
        """The answers that were asked for ahead, which are waited for; rank 0 has them."""
        for phase in list(self._pending):
            self._wait(phase)
        return {f"{phase}.{name}": tensor for phase, answers in self._ready.items() for name, tensor in _tensors(answers).items()}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `state` gave; what else was asked for is forgotten."""
        self._pending, self._published = {}, -1
        phases = {int(name.partition(".")[0]) for name in tensors}
        self._ready = {phase: _examples({name: tensors[f"{phase}.{name}"] for name in NAMES}) for phase in sorted(phases)}

    def close(self) -> None:
        """End the samplers that are ours, and remove the weights that were published."""
        self._samplers.close()
        if self._is_main:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self, phase: int) -> None:
        if phase in self._pending:
            self._ready[phase] = self._pending.pop(phase).result()

    def _publish(self, version: int) -> None:
        """Let the samplers have the weights of now."""
        self._published = version
        model = self._policy.model
        if model.base_fingerprint is not None:  # samplers know nothing of adapters
            model = copy.deepcopy(model)
            merge(model)
        folder = self._folder / self._name(version)
        replace(self._policy, model=model).save(folder)
        self._samplers.publish(Weights(version, folder, fingerprint(model)))
        kept = {self._name(version - behind) for behind in range(self._max_lag + 2)}  # some server may still have to read them
        for folder in self._folder.iterdir():
            if folder.name not in kept:
                shutil.rmtree(folder)

    def _name(self, version: int) -> str:
        return f"{version:06d}"


def _tensors(answers: Sequence[Example]) -> dict[str, Tensor]:
    """The answers of a phase end to end, by NAMES."""
    ends = [[len(answer.tokens), answer.meta["prompt_length"], int(answer.meta["stopped"])] for answer in answers]
    arrays = [np.concatenate([answer.tokens for answer in answers]), np.concatenate([answer.loss_mask for answer in answers])]
    arrays += [np.concatenate([answer.columns[name] for answer in answers]) for name in COLUMNS]
    return dict(zip(NAMES, [*map(torch.from_numpy, arrays), *torch.tensor(ends).T.contiguous()], strict=True))


def _examples(tensors: dict[str, Tensor]) -> list[Example]:
    """The opposite of `_tensors`."""
    *aligned, lengths, prompts, stopped = (tensors[name].numpy() for name in NAMES)
    parts = zip(*(np.split(array, np.cumsum(lengths)[:-1]) for array in aligned), strict=True)
    return [
        Example(tokens, mask, dict(zip(COLUMNS, columns, strict=True)), {"stopped": bool(is_stopped), "prompt_length": int(size)})
        for (tokens, mask, *columns), is_stopped, size in zip(parts, stopped, prompts, strict=True)
    ]


@contextmanager
def separate(stage: Reinforce, run: Run, policy: Speaker, judges: Judges) -> Iterator[Separate | None]:
    """The samplers that the stage asks for, ended with it; None if the trainer samples itself.

    Raises ConfigError for servers that cannot do what is needed, EngineError if one is not there.
    """
    if isinstance(stage.engine, InProcess):
        yield None
        return
    longest = max(map(len, judges.prompt_ids)) + stage.sampling.max_new_tokens
    engine = engine_of(
        run, policy, rows=stage.prompts_per_phase * stage.answers, precision=None if stage.sampler == "auto" else stage.sampler
    )  # for its checks and what it derives; it never samples
    servers: list[Server] = []
    samplers = Samplers(
        servers, stop_ids=policy.stop_ids, vocab_size=policy.model.config.vocab_size, context=policy.model.config.max_seq_len,
        ahead=stage.engine.max_lag, is_in_flight=stage.engine.in_flight, log=run.log,
    )  # fmt: skip
    asked = partial(prompts_of, stage, judges.prompt_ids, run.seed)
    found = Separate(run, policy, samplers, asked, max_lag=stage.engine.max_lag, phases=stage.phases)
    try:
        if run.is_main and isinstance(stage.engine, OtherProcess):
            how = {"rows": engine.rows, "precision": engine.precision, "kernels": machine_of(run).sampler, "stop_ids": policy.stop_ids}
            servers.append(OwnSampler({"machine": plain(machine_of(run)), **how}))
        elif run.is_main and isinstance(stage.engine, Servers):
            where, tokens = str(resolve(run, stage.model)), min(longest, policy.model.config.max_seq_len)
            for endpoint in stage.engine.endpoints():
                server = VLLM(endpoint, policy.stop_ids, tokens, where, stage.engine.in_flight, stage.sampling.temperature)
                server.look()
                if server.caution:
                    run.log(server.caution)
                servers.append(server)
        yield found
    finally:
        found.close()
