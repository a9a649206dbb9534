"""What says how good the answers of a policy are: reward models, rules, and the critic that is made of one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from trivium.core.run import Run
from trivium.core.types import Example
from trivium.generate.sampling import Sampling
from trivium.nn.adapter import frozen_reference
from trivium.nn.lora import LoRA
from trivium.nn.model import Model
from trivium.score.answers import AnswerRule
from trivium.score.rewards import RewardRule, Said, checked
from trivium.score.rewards.opened import names_of
from trivium.stages.base import data_source
from trivium.stages.computing.choosing import rules_of
from trivium.stages.computing.models import Speaker, check_reader, is_spread, machine_of, same_tokenizer, say_what_is_slower
from trivium.stages.computing.shared import share_of, shared_scores
from trivium.text.read import read_prompt_records
from trivium.train.ranks import once
from trivium.train.spread import read_in_parts

if TYPE_CHECKING:
    from trivium.stages.reinforce import Reinforce
    from trivium.stages.sample import Sample


@dataclass(frozen=True, slots=True)
class Judges:
    """Everything that reads the answers to a list of prompts.

    prompt_ids: tokens of each prompt. models: what the reward is made of; heldout: what only watches. critic: a model with a scalar
    head that is trained, if there is to be one. read: scores of answers under a reward model. rules: those of the options, ready.
    truth: the rule behind the preferences, if it is known. said: by answer, what each rule said of it since `means` was asked.
    """

    options: Reinforce | Sample
    policy: Speaker
    prompt_ids: list[np.ndarray]
    records: list[tuple[Any, Any]]
    models: list[Speaker]
    heldout: list[Speaker]
    critic: Model | None
    read: Callable[[Speaker, Sequence[Example]], np.ndarray]
    rules: list[RewardRule]
    truth: AnswerRule | None = None
    said: dict[tuple[int, bytes], list[float]] = field(default_factory=dict)

    @staticmethod
    def load(options: Reinforce, run: Run, policy: Speaker, *, rows: int, length: int) -> Judges:
        """Read the prompts and the models. The critic begins as the first reward model, or without one as the policy with a new head."""
        records = list(read_prompt_records(data_source(run, options.prompts)))
        rules = rules_of(run, options.rewards, [fields for _, fields in records])
        prompt_ids = [policy.prompt(messages) for messages, _ in records]
        if empty := sum(not messages[-1].content for messages, _ in records):
            run.log(f"{options.prompts}: {empty:,} of {len(records):,} prompts are empty; they are answered like the others")

        def speaker(reference: str, *, is_judge: bool = True) -> Speaker:
            is_later = options.is_read_in_parts
            return judge(run, policy, reference, prompt_ids, options.sampling, options.lora, is_trained=is_judge, is_later=is_later)

        models, critic = [speaker(reference) for reference in options.reward_model], None
        if options.has_critic:
            critic = models[0].model if models else speaker(options.model, is_judge=False).model
            frozen = [frozen_reference(each.model, is_later=options.is_read_in_parts) for each in models[:1]]
            models = [*(replace(models[0], model=model) for model in frozen), *models[1:]]
        watching = [speaker(reference) for reference in options.guard.models]
        for each in (*models, *watching):
            in_parts(options, run, each.model)
        return Judges(
            options, policy, prompt_ids, records, models, watching, critic,
            shared_scores(share_of(run), lambda each, answers: each.scores(answers, rows=rows, length=length)), rules, options.truth,
        )  # fmt: skip

    def score(self, answers: Sequence[Example], owners: Sequence[int]) -> np.ndarray:
        """The reward of each answer, (N,): of the models together, and of the rules, each times its weight."""
        total = np.zeros(len(answers))
        if self.models:
            opinions = np.stack([self.read(judge, answers) for judge in self.models])
            total += opinions.mean(0) - self.options.disagreement_coef * opinions.std(0)
        if self.rules:
            said = [self._said(answer, owner) for answer, owner in zip(answers, owners, strict=True)]
            scores_NR = np.array(once(lambda: [np.asarray(checked(rule, said)).tolist() for rule in self.rules])).T
            for rule, scores_N in zip(self.rules, scores_NR.T, strict=True):
                total += rule.weight * scores_N
            self.said.update(
                {_key(answer, owner): scores for answer, owner, scores in zip(answers, owners, scores_NR.tolist(), strict=True)}
            )
        return total

    def means(self, answers: Sequence[Example], owners: Sequence[int]) -> dict[str, float]:
        """The mean of what each rule said of answers that were scored, before its weight, by its name; then they are forgotten."""
        means = np.mean([self.said[_key(answer, owner)] for answer, owner in zip(answers, owners, strict=True)], axis=0)
        self.said.clear()
        return {f"reward/{name}": mean for name, mean in zip(names_of(self.rules), means.tolist(), strict=True)}

    def heldout_score(self, answers: Sequence[Example], owners: Sequence[int]) -> np.ndarray:
        """The mean score of the models that only watch, (N,)."""
        del owners
        return np.mean([self.read(judge, answers) for judge in self.heldout], axis=0)

    def true_score(self, answers: Sequence[Example], owners: Sequence[int]) -> np.ndarray:
        """The score by the rule behind the preferences, where it is known, (N,)."""
        rule = self.truth
        assert rule is not None
        said = [self._said(answer, owner) for answer, owner in zip(answers, owners, strict=True)]
        return np.array([rule(each.field("asked"), each.response, each.is_stopped) for each in said])

    def _said(self, answer: Example, owner: int) -> Said:
        messages, fields = self.records[owner]
        return Said(messages, self.policy.text_of(answer), bool(answer.meta["stopped"]), fields)


def judge(
    run: Run, policy: Speaker, reference: str, prompt_ids: Sequence[np.ndarray], sampling: Sampling, lora: LoRA | None = None,
    *, is_trained: bool = True, is_later: bool = False,
) -> Speaker:  # fmt: skip
    """A model with a scalar head that can read every answer of the policy to these prompts. Raises what is wrong if it cannot.

    is_trained: it is a reward model; else any model, and its head is new. is_later: see Speaker.load.
    """
    read = Speaker.judge_of if is_trained else partial(Speaker.of, has_scalar=True)
    found = read(run, reference, is_later=is_later).adapt(lora, run.seed)
    same_tokenizer(policy, found)
    check_reader(prompt_ids, sampling, policy, found)
    say_what_is_slower(run, found.model)
    return found


def in_parts(stage: Reinforce, run: Run, model: Model) -> Model:
    """The same model, which is only read; each rank has a part of it, where nobody needs it whole."""
    return read_in_parts(model.requires_grad_(False)) if stage.is_read_in_parts and is_spread(machine_of(run)) else model


def _key(answer: Example, owner: int) -> tuple[int, bytes]:
    return owner, answer.tokens.tobytes()
