"""The on-policy source: the policy answers prompts, rewards score the answers, credit is assigned, and the trainers get it.

Per-token penalty: kl_coef (log policy - log reference), k1. An answer that did not stop by itself gets missing_end_penalty instead of
its score, or is left out of the loss. Where another speaks than the trainer's model as it is (a sampler in fewer bits), the trainer
reads the answers again: its log-probs are the anchor, and each token counts by how much more likely the trainer finds it, at most
MAX_IMPORTANCE times. What phase p samples is a function of (seed, p, weights).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from trivium.core.errors import DivergedError, EngineError
from trivium.core.seeds import generator
from trivium.core.types import Example, Group
from trivium.data.order import epoch_rows
from trivium.generate.sampling import Sampling
from trivium.learn.credit import Answers, CreditRule, overlong
from trivium.learn.kl import AdaptiveKL
from trivium.stages.phases import lag, rows_of, versions

Score = Callable[[Sequence[Example], Sequence[int]], np.ndarray]  # (answers, index of their prompts) -> (N,)
Parts = Callable[[Sequence[Example], Sequence[int]], dict[str, float]]
Column = Callable[[Sequence[Example]], list[np.ndarray]]  # answers -> one (L,) array each
MAX_REFILLS = 10  # times that prompts whose answers all got the same reward are replaced by others
MAX_IMPORTANCE = 2.0  # truncated importance sampling (Ionides 2008): a little bias for a bounded variance
KL_PROMPTS = 4  # where nothing depends on the KL, it is measured on the answers to one prompt in so many
MAX_MISMATCH = 1.05  # mean of the ratio between sampler and trainer, or its inverse, above which a line says so
MAX_STRANGE = 3.0  # of the same mean, above which it is no rounding and no lag, but another model
MAX_BLIND_PHASES = 5  # phases in a row without any difference in reward, after which a run has nothing to learn from


class RolloutOptions(Protocol):
    """The options of `reinforce` that say what a phase is."""

    @property
    def sampling(self) -> Sampling: ...
    @property
    def credit(self) -> CreditRule: ...
    @property
    def is_paired(self) -> bool: ...
    @property
    def has_credit(self) -> bool: ...
    @property
    def needs_kl(self) -> bool: ...
    @property
    def refill(self) -> bool: ...
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
    def adaptive_kl(self) -> AdaptiveKL | None: ...
    @property
    def missing_end(self) -> Literal["penalty", "mask"]: ...
    @property
    def missing_end_penalty(self) -> float: ...
    @property
    def overlong_margin(self) -> int: ...


class Speaks(Protocol):
    """What answers prompts, as an Engine does."""

    def generate(self, prompts: Sequence[np.ndarray], sampling: Sampling, *, seed: int, purpose: str, step: int) -> list[Example]: ...


@dataclass(slots=True)
class Rollouts:
    """Groups of on-policy answers; a phase is sampled once and served in `passes` x `minibatches` steps.

    prompts: token ids. score: the reward of each answer. reference: its log-probs under the reference. values: the critic's
    estimates, for a rule with a critic. teacher: log-probs under a teacher, which then is the reward. opponent: whose answers are compared
    with. trainer: the log-probs that the trainer computes, for an engine whose numbers are others. Only reported are parts: means of what
    a reward is made of; truth: the true score where it is known; watched: a held-out reward. log: where a warning goes. max_lag: phases
    that the weights of the engine may be behind.
    """

    options: RolloutOptions
    engine: Speaks
    prompts: Sequence[np.ndarray]
    seed: int
    score: Score
    reference: Column
    values: Column | None = None
    teacher: Column | None = None
    opponent: Speaks | None = None
    trainer: Column | None = None
    parts: Parts | None = None
    truth: Score | None = None
    watched: Score | None = None
    log: Callable[[str], None] = lambda _: None
    max_lag: int = 0
    measured: dict[str, float] = field(default_factory=dict)
    _phase: int = -1
    _groups: list[Group] = field(default_factory=list)
    _blind: int = 0
    _kl_coef: float = 0.0
    name: str = "rollouts"

    def __post_init__(self) -> None:
        self._kl_coef = self.options.kl_coef

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint holds of it."""
        return {"seen": torch.tensor([self._blind, self._kl_coef], dtype=torch.float64)}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave; what was sampled is sampled again."""
        blind, self._kl_coef = tensors["seen"].tolist()
        self._blind, self._phase = int(blind), -1

    @property
    def steps_per_phase(self) -> int:
        return self.options.passes * self.options.minibatches

    def __call__(self, step: int) -> list[Group]:
        """The groups of update number `step`.

        Raises DivergedError if for MAX_BLIND_PHASES phases no reward has differed from those that it is compared with.
        """
        phase, part = divmod(step, self.steps_per_phase)
        if phase != self._phase:
            self._groups, self._phase = self._sample(phase), phase
        pass_number, minibatch = divmod(part, self.options.minibatches)
        order = generator(self.seed, "minibatches", phase, pass_number).permutation(len(self._groups))
        return [self._groups[i] for i in np.array_split(order, self.options.minibatches)[minibatch]]

    def report(self, done: int, metrics: dict[str, Any]) -> None:
        """A hook: what the phase of the step that was just done was worth, once a phase."""
        if (done - 1) % self.steps_per_phase == 0 and self.trainer is None and not self.max_lag:
            self._look_at_mismatch(metrics.get("ratio_error", 1.0))
        if done % self.steps_per_phase == 0:
            metrics |= self.measured

    def _sample(self, phase: int) -> list[Group]:
        rows = rows_of(self.options, len(self.prompts), self.seed, phase)
        owners, answers, scores = self._answered(rows, phase, "rollout")
        replaced = 0.0
        if self.options.refill:
            owners, answers, scores, replaced = self._refilled(owners, answers, scores, phase)
        others, other_scores = self._compared(owners, phase)
        self._look_for_differences(scores, other_scores)
        answers, mismatch = self._read_again(answers, phase)
        answers, kl = self._referred(answers)
        self.measured = self._measure(owners, answers, scores, kl) | {"replaced_share": replaced} | mismatch | lag(answers, phase)
        if self.options.is_paired:
            groups = self._pairs(answers, scores, others, other_scores, phase=phase)
        elif self.options.has_credit:
            groups = self._credited(answers, scores, kl, other_scores)
        else:
            groups = self._grouped(answers)
        if self.options.adaptive_kl is not None:
            self.measured["kl_coef"] = self._kl_coef
            self._kl_coef = self.options.adaptive_kl(self._kl_coef, self.measured["kl"], len(answers))
        return groups

    def _answered(self, rows: Sequence[int], phase: int, purpose: str) -> tuple[list[int], list[Example], np.ndarray]:
        """(index of its prompt, answer, score) of every answer to these prompts, those to one prompt next to each other."""
        owners = [row for row in rows for _ in range(self.options.answers)]
        answers = self.engine.generate(
            [self.prompts[row] for row in owners], self.options.sampling, seed=self.seed, purpose=purpose, step=phase
        )
        if self.teacher is not None:
            read = zip(answers, self.teacher(answers), strict=True)
            answers = [answer.with_columns(teacher_logprobs=column) for answer, column in read]
        return owners, answers, self._scores(answers, owners)

    def _scores(self, answers: Sequence[Example], owners: Sequence[int]) -> np.ndarray:
        if self.teacher is not None:
            return np.array([gap.sum() for gap in _teaching(answers)])
        scores = np.asarray(self.score(answers, owners), np.float64)
        if self.options.missing_end == "penalty":
            stopped = np.array([bool(answer.meta["stopped"]) for answer in answers])
            scores = np.where(stopped, scores, self.options.missing_end_penalty)
        lengths = np.array([len(answer.response) for answer in answers])
        return scores + overlong(lengths, self.options.sampling.max_new_tokens, self.options.overlong_margin)

    def _referred(self, answers: list[Example]) -> tuple[list[Example], list[np.ndarray]]:
        """The answers with the reference's log-probs, and by how much the policy's are above; of some answers where nothing needs all."""
        read = answers if self.options.needs_kl else answers[: self.options.answers * -(-self.options.prompts_per_phase // KL_PROMPTS)]
        reference = self.reference(read)
        kl = [(answer.columns["old_logprobs"] - column) * (answer.loss_mask > 0) for answer, column in zip(read, reference, strict=True)]
        if not self.options.needs_kl:
            return answers, kl
        return [answer.with_columns(ref_logprobs=column) for answer, column in zip(answers, reference, strict=True)], kl

    def _read_again(self, answers: list[Example], phase: int) -> tuple[list[Example], dict[str, float]]:
        """The answers with the trainer's log-probs and how much each token counts, where the sampler is another; and by how much it is."""
        if self.trainer is None:
            return answers, {}
        found, gaps, fresh = [], [], []
        for answer, column in zip(answers, self.trainer(answers), strict=True):
            gap = (column - answer.columns["old_logprobs"]) * (answer.loss_mask > 0)
            importance = np.exp(np.minimum(gap, np.log(MAX_IMPORTANCE))).astype(np.float32)
            found.append(answer.with_columns(old_logprobs=column, importance=importance))
            gaps.append(gap[answer.loss_mask > 0])
            fresh.append(versions(answer, phase) == phase)
        gap, is_fresh = np.concatenate(gaps).astype(np.float64), np.concatenate(fresh)
        weight, mismatch = np.minimum(np.exp(gap), MAX_IMPORTANCE), np.exp(np.abs(gap))
        if "policy_step" in answers[0].columns and mismatch.mean() > MAX_STRANGE:
            raise EngineError(
                f"phase {phase}: the sampler gives its tokens other probabilities than the trainer does, by a factor of"
                f" {mismatch.mean():.2g} on average: it has other weights, or draws otherwise, than it says; or the policy moves too far"
                " in as many phases as it lags"
            )
        if is_fresh.any():  # others differ because the policy has learned since
            self._look_at_mismatch(float(mismatch[is_fresh].mean()))
        share = float(weight.mean() ** 2 / (weight**2).mean())
        return found, {"sampler_mismatch": float(mismatch.mean()), "sampler_effective_share": share}

    def _look_at_mismatch(self, mismatch: float) -> None:
        if mismatch > MAX_MISMATCH:
            self.log(
                f"the sampler gives tokens other probabilities than the trainer, by a factor above {MAX_MISMATCH} on average"
                " (sampler_mismatch or ratio_error among the metrics); sampler=float32, or machine.precision=float32, comes closer"
            )

    def _refilled(
        self, owners: list[int], answers: list[Example], scores: np.ndarray, phase: int
    ) -> tuple[list[int], list[Example], np.ndarray, float]:
        """The same with prompts whose answers differ in reward in the place of those whose do not, as far as they are found in time.

        DAPO's dynamic sampling (Yu et al. 2025, arXiv:2503.14476, section 3.2). Also gives the share of prompts that were replaced.
        """
        size, asked, replaced = self.options.answers, self.options.prompts_per_phase, 0
        for attempt in range(MAX_REFILLS):
            flat = np.flatnonzero(_are_equal(scores.reshape(-1, size)))
            if not len(flat):
                break
            first = (phase * MAX_REFILLS + attempt) * asked
            rows = epoch_rows(first, len(flat), len(self.prompts), self.seed, "more prompts").tolist()
            more_owners, more_answers, more_scores = self._answered(rows, phase, f"refill {attempt}")
            for number, place in enumerate(flat.tolist()):
                there, here = slice(number * size, (number + 1) * size), slice(place * size, (place + 1) * size)
                owners[here], answers[here] = more_owners[there], more_answers[there]
                scores[here] = more_scores[there]
            replaced += len(flat)
        return owners, answers, scores, replaced / asked

    def _look_for_differences(self, scores: np.ndarray, other_scores: np.ndarray | None) -> None:
        """Count phases in which no reward differs from those it is compared with: a baseline's, others to its prompt, or all of them."""
        options = self.options
        is_grouped = options.answers > 1 and (options.is_paired or (options.has_credit and options.credit.min_answers > 1))
        if other_scores is not None:
            compared = np.stack([scores, other_scores], 1)
        else:
            compared = scores.reshape(-1, options.answers if is_grouped else len(scores))
        self._blind = self._blind + 1 if _are_equal(compared).all() else 0
        if self._blind == MAX_BLIND_PHASES:
            same = f"got the reward {scores[0]:g}" if np.ptp(scores) == 0 else "got the same reward as those that it is compared with"
            raise DivergedError(
                f"every answer of the last {MAX_BLIND_PHASES} phases {same}, so there is nothing to learn from;"
                " look at the reward, at the prompts, or begin with a model that is sometimes right"
            )

    def _measure(self, owners: Sequence[int], answers: Sequence[Example], scores: np.ndarray, kl: Sequence[np.ndarray]) -> dict[str, float]:
        groups = scores.reshape(-1, self.options.answers)
        lengths = np.array([int((answer.loss_mask > 0).sum()) for answer in answers])
        found = {
            "reward": float(scores.mean()),
            "reward_std": float(scores.std()),
            "kl": float(np.mean([column.sum() for column in kl])),
            "length": float(lengths.mean()),
            "stop_rate": float(np.mean([bool(answer.meta["stopped"]) for answer in answers])),
            "unique_answers": len({answer.response.tobytes() for answer in answers}) / len(answers),
        }
        if self.options.answers > 1:
            found["equal_groups"] = float(_are_equal(groups).mean())
        if lengths.std() > 0 and scores.std() > 0:
            found["reward_length_correlation"] = float(np.corrcoef(lengths, scores)[0, 1])
        if self.parts is not None:
            found |= self.parts(answers, owners)
        if self.truth is not None:
            found["true_reward"] = float(self.truth(answers, owners).mean())
        if self.watched is not None:
            found["heldout_reward"] = float(self.watched(answers, owners).mean())
        return found

    def _credited(
        self, answers: Sequence[Example], scores: np.ndarray, kl: Sequence[np.ndarray], other_scores: np.ndarray | None
    ) -> list[Group]:
        """The answers with advantages, and with a critic with values and returns, at the tokens that count."""
        rule, spans = self.options.credit, [np.flatnonzero(answer.loss_mask) for answer in answers]
        values = self.values(answers) if self.values is not None else None
        credit = rule(
            Answers(
                scores,
                self._penalties(kl, spans),
                self.options.answers,
                None if values is None else [column[span] for column, span in zip(values, spans, strict=True)],
                other_scores if rule.needs_greedy else None,
                self._wins(scores, other_scores) if self.opponent is not None else None,
                _teaching(answers) if self.teacher is not None else None,
            )
        )
        credited = [
            answer.with_columns(advantages=_placed(answer, span, advantage))
            for answer, span, advantage in zip(answers, spans, credit.advantages, strict=True)
        ]
        if values is not None and credit.returns is not None:
            credited = [
                answer.with_columns(values=value, returns=_placed(answer, span, target))
                for answer, value, span, target in zip(credited, values, spans, credit.returns, strict=True)
            ]
        return self._grouped(credited)

    def _penalties(self, kl: Sequence[np.ndarray], spans: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What the KL costs at each token that counts."""
        if not self._kl_coef:
            return [np.zeros(len(span)) for span in spans]
        return [self._kl_coef * column[span] for column, span in zip(kl, spans, strict=True)]

    def _grouped(self, answers: Sequence[Example]) -> list[Group]:
        """Those to one prompt together; what was cut off is masked, where that is asked for."""
        if self.options.missing_end == "mask":
            answers = [each if each.meta["stopped"] else replace(each, loss_mask=np.zeros_like(each.loss_mask)) for each in answers]
        return [tuple(answers[i : i + self.options.answers]) for i in range(0, len(answers), self.options.answers)]

    def _compared(self, owners: Sequence[int], phase: int) -> tuple[list[Example], np.ndarray | None]:
        """Scores that those of the answers are compared with, (N,): of an opponent's answers, which it gives, or of greedy ones."""
        if self.opponent is not None:
            prompts = [self.prompts[row] for row in owners]
            answers = self.opponent.generate(prompts, self.options.sampling, seed=self.seed, purpose="opponent", step=phase)
            return answers, self._scores(answers, owners)
        if not self.options.has_credit or not self.options.credit.needs_greedy:
            return [], None
        rows = list(dict.fromkeys(owners))
        greedy = Sampling(temperature=0, max_new_tokens=self.options.sampling.max_new_tokens)
        answers = self.engine.generate([self.prompts[row] for row in rows], greedy, seed=self.seed, purpose="greedy", step=phase)
        by_row = dict(zip(rows, self._scores(answers, rows), strict=True))
        return [], np.array([by_row[owner] for owner in owners])

    def _wins(self, scores: np.ndarray, their_scores: np.ndarray | None) -> np.ndarray:
        """The probability that each answer is preferred to its opponent's, by Bradley and Terry's model of the scores; (N,)."""
        assert their_scores is not None
        wins = np.exp(-np.logaddexp(0.0, their_scores - scores))
        self.measured["win_rate"] = float(wins.mean())
        return wins

    def _pairs(
        self, answers: Sequence[Example], scores: np.ndarray, others: Sequence[Example], their_scores: np.ndarray | None, *, phase: int
    ) -> list[Group]:
        """Of the answers to each prompt the best before the worst, for a preference loss; equal ones in an order drawn by lot.

        Guo et al. 2024, arXiv:2402.04792 (online DPO). A prompt whose answers are the same text has no pair to learn from: its pair gives
        no slope. With an opponent a pair is an answer of either.
        """
        size = self.options.answers
        if their_scores is not None:
            others = [other.with_columns(ref_logprobs=column) for other, column in zip(others, self.reference(others), strict=True)]
            sides = zip(_side(answers, is_reference=False), _side(others, is_reference=True), strict=True)
            answers, size = [item for pair in sides for item in pair], 2
            scores = np.stack([scores, their_scores], 1).ravel()
        lots = generator(self.seed, "ties", phase).random(len(answers))
        pairs: list[Group] = []
        for start in range(0, len(answers), size):
            order = sorted(range(start, start + size), key=lambda i: (-scores[i], lots[i]))
            pairs.append((answers[order[0]], answers[order[-1]]))
        return pairs


def _are_equal(compared_GK: np.ndarray) -> np.ndarray:
    """Whether all rewards of a row are the same, (G,)."""
    return compared_GK.max(1) == compared_GK.min(1)


def _teaching(answers: Sequence[Example]) -> list[np.ndarray]:
    """Of each answer log teacher - log policy at the tokens that count, (T,); in sum it is on average minus the KL from the teacher."""
    return [(answer.columns["teacher_logprobs"] - answer.columns["old_logprobs"])[answer.loss_mask > 0] for answer in answers]


def _side(answers: Sequence[Example], *, is_reference: bool) -> list[Example]:
    """The answers of one side of a pair, with the columns that both sides have."""
    kept = ("old_logprobs", "ref_logprobs")
    filled = [np.full(len(answer.tokens), is_reference, np.float32) for answer in answers]
    return [
        replace(answer, columns={name: answer.columns[name] for name in kept}).with_columns(from_reference=column)
        for answer, column in zip(answers, filled, strict=True)
    ]


def _placed(answer: Example, span: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values of the counted tokens at their places, 0 elsewhere."""
    column = np.zeros(len(answer.tokens), np.float32)
    column[span] = values
    return column
