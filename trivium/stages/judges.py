"""What says how good the answers of a policy are: reward models, rules, and the critic that is made of one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trivium.core.run import Run
from trivium.core.types import Example
from trivium.nn.adapter import frozen_reference
from trivium.nn.model import Model
from trivium.score.rewards import Said, checked
from trivium.stages.base import resolve
from trivium.stages.models import Speaker, check_reader, machine_of, same_tokenizer, say_what_is_slower
from trivium.text.read import read_prompt_records

if TYPE_CHECKING:
    from trivium.stages.reinforce import Reinforce


@dataclass(frozen=True, slots=True)
class Judges:
    """Everything that reads the answers to a list of prompts.

    prompt_ids: tokens of each prompt. models: what the policy is trained on; heldout: what only watches. critic: a model with a scalar
    head that is trained, if there is to be one. read: scores of answers under a reward model.
    """

    options: Reinforce
    policy: Speaker
    prompt_ids: list[np.ndarray]
    records: list[tuple[Any, Any]]
    models: list[Speaker]
    heldout: list[Speaker]
    critic: Model | None
    read: Callable[[Speaker, Sequence[Example]], np.ndarray]

    @staticmethod
    def load(options: Reinforce, run: Run, policy: Speaker, *, rows: int, length: int) -> Judges:
        """Read the prompts and the models. The critic begins as the first reward model, or without one as the policy with a new head."""
        records = list(read_prompt_records(resolve(run, options.prompts)))
        prompt_ids = [policy.prompt(messages) for messages, _ in records]

        def speaker(reference: str, *, is_judge: bool = True) -> Speaker:
            path, machine = resolve(run, reference), machine_of(run)
            found = Speaker.load_judge(path, machine) if is_judge else Speaker.load(path, machine, has_scalar=True)
            found = found.adapt(options.lora, run.seed)
            same_tokenizer(policy, found)
            check_reader(prompt_ids, options.sampling, policy, found)
            say_what_is_slower(run, found.model)
            return found

        models = [speaker(reference) for reference in options.reward_model]
        critic = None
        if options.has_critic:
            critic = models[0].model if models else speaker(options.model, is_judge=False).model
            models = [replace(models[0], model=frozen_reference(models[0].model)), *models[1:]] if models else []
        watching = [speaker(reference) for reference in options.guard.models]
        return Judges(
            options, policy, prompt_ids, records, models, watching, critic,
            lambda judge, answers: judge.scores(answers, rows=rows, length=length),
        )  # fmt: skip

    def score(self, answers: Sequence[Example], owners: Sequence[int]) -> np.ndarray:
        """The reward of each answer, (N,): of the models together, and of the rules, each times its weight."""
        total = np.zeros(len(answers))
        if self.models:
            opinions = np.stack([self.read(judge, answers) for judge in self.models])
            total += opinions.mean(0) - self.options.disagreement_coef * opinions.std(0)
        if self.options.rewards:
            said = [self._said(answer, owner) for answer, owner in zip(answers, owners, strict=True)]
            for rule in self.options.rewards:
                total += rule.weight * np.array(checked(rule, said))
        return total

    def heldout_score(self, answers: Sequence[Example], owners: Sequence[int]) -> np.ndarray:
        """The mean score of the models that only watch, (N,)."""
        del owners
        return np.mean([self.read(judge, answers) for judge in self.heldout], axis=0)

    def true_score(self, answers: Sequence[Example], owners: Sequence[int]) -> np.ndarray:
        """The score by the rule behind the preferences, where it is known, (N,)."""
        rule = self.options.truth
        assert rule is not None
        said = [self._said(answer, owner) for answer, owner in zip(answers, owners, strict=True)]
        return np.array([rule(each.field("asked"), each.response, each.is_stopped) for each in said])

    def _said(self, answer: Example, owner: int) -> Said:
        messages, fields = self.records[owner]
        return Said(messages, self.policy.text_of(answer), bool(answer.meta["stopped"]), fields)
