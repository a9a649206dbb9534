"""The on-policy source: the policy answers prompts, a reward model scores the answers, credit is assigned, and the trainers get it.

Per-token reward: -kl_coef (log policy - log reference), k1, plus the score at the last token. An answer that did not stop by
itself gets the penalty instead of its score. What phase p samples is a function of (seed, p, weights).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from trivium.core.seeds import generator
from trivium.core.types import Example, Group
from trivium.data.order import epoch_rows
from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling
from trivium.learn.credit import GAE, GroupMean, whiten

Score = Callable[[Sequence[Example], Sequence[int]], np.ndarray]  # (answers, index of their prompts) -> (N,)
Column = Callable[[Sequence[Example]], list[np.ndarray]]  # answers -> one (L,) array each


class RolloutOptions(Protocol):
    """The options of `reinforce` that say what a phase is."""

    @property
    def sampling(self) -> Sampling: ...
    @property
    def credit(self) -> GAE | GroupMean: ...
    @property
    def prompts_per_phase(self) -> int: ...
    @property
    def answers(self) -> int: ...
    @property
    def passes(self) -> int: ...
    @property
    def minibatches(self) -> int: ...
    @property
    def kl_coef(self) -> float: ...
    @property
    def missing_end_penalty(self) -> float: ...


@dataclass(slots=True)
class Rollouts:
    """Groups of on-policy answers; a phase is sampled once and served in `passes` x `minibatches` steps.

    prompts: token ids. score: the reward of each answer. reference: its log-probs under the reference. values: the critic's
    estimates, for GAE. truth: the true score where it is known; it is only reported.
    """

    options: RolloutOptions
    engine: Engine
    prompts: Sequence[np.ndarray]
    seed: int
    score: Score
    reference: Column
    values: Column | None = None
    truth: Score | None = None
    measured: dict[str, float] = field(default_factory=dict)
    _phase: int = -1
    _groups: list[Group] = field(default_factory=list)

    @property
    def steps_per_phase(self) -> int:
        return self.options.passes * self.options.minibatches

    def __call__(self, step: int) -> list[Group]:
        """The groups of update number `step`."""
        phase, part = divmod(step, self.steps_per_phase)
        if phase != self._phase:
            self._groups, self._phase = self._sample(phase), phase
        pass_number, minibatch = divmod(part, self.options.minibatches)
        order = generator(self.seed, "minibatches", phase, pass_number).permutation(len(self._groups))
        return [self._groups[i] for i in np.array_split(order, self.options.minibatches)[minibatch]]

    def report(self, done: int, metrics: dict[str, Any]) -> None:
        """A hook: what the phase of the step that was just done was worth, once a phase."""
        if done % self.steps_per_phase == 0:
            metrics |= self.measured

    def _sample(self, phase: int) -> list[Group]:
        rows = epoch_rows(phase * self.options.prompts_per_phase, self.options.prompts_per_phase, len(self.prompts), self.seed, "prompts")
        owners = [int(row) for row in rows for _ in range(self.options.answers)]
        answers = self.engine.generate(
            [self.prompts[row] for row in owners], self.options.sampling, seed=self.seed, purpose="rollout", step=phase
        )
        stopped = np.array([bool(answer.meta["stopped"]) for answer in answers])
        scores = np.where(stopped, self.score(answers, owners), self.options.missing_end_penalty)
        reference = self.reference(answers)
        kl = [(answer.columns["old_logprobs"] - column) * (answer.loss_mask > 0) for answer, column in zip(answers, reference, strict=True)]
        answers = [answer.with_columns(ref_logprobs=column) for answer, column in zip(answers, reference, strict=True)]
        credited = (
            self._token_credit(answers, scores, kl, self.options.credit)
            if isinstance(self.options.credit, GAE)
            else self._answer_credit(answers, scores, kl, self.options.credit)
        )
        lengths = [int((answer.loss_mask > 0).sum()) for answer in answers]
        self.measured = {
            "reward": float(scores.mean()),
            "kl": float(np.mean([column.sum() for column in kl])),
            "length": float(np.mean(lengths)),
            "stop_rate": float(stopped.mean()),
        }
        if self.truth is not None:
            self.measured["true_reward"] = float(self.truth(answers, owners).mean())
        return [tuple(credited[i : i + self.options.answers]) for i in range(0, len(credited), self.options.answers)]

    def _token_credit(self, answers: Sequence[Example], scores: np.ndarray, kl: Sequence[np.ndarray], credit: GAE) -> list[Example]:
        """Advantages and returns of every token from a critic; advantages are whitened over the phase."""
        if self.values is None:
            raise RuntimeError("GAE needs a critic")
        values = self.values(answers)
        spans, advantages, returns = [], [], []
        for answer, score, divergence, value in zip(answers, scores, kl, values, strict=True):
            span = np.flatnonzero(answer.loss_mask)
            rewards = -self.options.kl_coef * divergence[span].astype(np.float64)
            rewards[-1] += score
            advantage, target = credit(rewards, value[span].astype(np.float64))
            spans.append(span)
            advantages.append(advantage)
            returns.append(target)
        white = np.split(whiten(np.concatenate(advantages)), np.cumsum([len(span) for span in spans])[:-1])
        return [
            answer.with_columns(values=value, advantages=_placed(answer, span, advantage), returns=_placed(answer, span, target))
            for answer, value, span, advantage, target in zip(answers, values, spans, white, returns, strict=True)
        ]

    def _answer_credit(self, answers: Sequence[Example], scores: np.ndarray, kl: Sequence[np.ndarray], credit: GroupMean) -> list[Example]:
        """One advantage for all tokens of an answer, from its group; the KL of the whole answer is part of its reward."""
        rewards = scores - self.options.kl_coef * np.array([column.sum() for column in kl])
        advantages = np.concatenate([credit(rewards[i : i + self.options.answers]) for i in range(0, len(answers), self.options.answers)])
        return [
            answer.with_columns(advantages=(answer.loss_mask > 0) * np.float32(advantage))
            for answer, advantage in zip(answers, advantages, strict=True)
        ]


def _placed(answer: Example, span: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values of the counted tokens at their places, 0 elsewhere."""
    column = np.zeros(len(answer.tokens), np.float32)
    column[span] = values
    return column
