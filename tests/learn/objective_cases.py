"""Every objective with the groups it judges. A new objective is in the battery and the spike when it has a line in CASES."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch.nn.functional import softplus

from tests.nn.tiny import VOCAB, tiny_model
from trivium.core.types import Example, Group, example
from trivium.learn.objectives import GKD, CrossEntropy, Objective, Process, Ranking, Value
from trivium.learn.objectives.policy import CISPO, REINFORCE, SAPO, PolicyGradient
from trivium.learn.objectives.preference import (
    AOT,
    APO,
    BCO,
    CPL,
    CPO,
    DPO,
    EXO,
    FDPO,
    GPO,
    IPO,
    KTO,
    LDDPO,
    NCA,
    ODPO,
    ORPO,
    RDPO,
    RRHF,
    SPPO,
    TDPO,
    WPO,
    XPO,
    DiscoPOP,
    RobustDPO,
    SimPO,
    SLiC,
    StepWide,
)  # fmt: skip
from trivium.learn.schedules import Schedule
from trivium.nn.batch import Batch
from trivium.nn.model import Model
from trivium.train.annotate import column_of, logprobs
from trivium.train.trainer import Trainer

SHORTEST, LONGEST = 5, 8  # tokens of a sequence: two of them never fit in a row of LONGEST, so such rows are not packed


def _answer(rng: np.random.Generator, **columns: float) -> Example:
    """Two tokens of prompt, then tokens that count, then one that does not. columns: name -> spread of its random numbers."""
    length = int(rng.integers(SHORTEST, LONGEST + 1))
    mask = [0, 0, *[1] * (length - 3), 0]
    return example(rng.integers(0, VOCAB, length), mask, **{name: rng.normal(0, spread, length) for name, spread in columns.items()})


def texts(rng: np.random.Generator) -> Group:
    return (_answer(rng),)


def pairs(rng: np.random.Generator) -> Group:
    return _answer(rng, ref_logprobs=1.0), _answer(rng, ref_logprobs=1.0)


def near_pairs(rng: np.random.Generator) -> Group:
    """Pairs of which the reference says about what a random model says."""
    return _near(rng), _near(rng)


def _near(rng: np.random.Generator) -> Example:
    item = _answer(rng, ref_logprobs=0.3)
    return item.with_columns(ref_logprobs=item.columns["ref_logprobs"] - np.float32(math.log(VOCAB)))


def scored_pairs(rng: np.random.Generator) -> Group:
    return tuple(_filled(item, score=float(score)) for item, score in zip(pairs(rng), rng.uniform(1, 2, 2) - (0, 1), strict=True))


def won_pairs(rng: np.random.Generator) -> Group:
    """Pairs of which the policy already prefers the better one, by more than a random model's answers differ."""
    better, worse = near_pairs(rng)
    return better.with_columns(ref_logprobs=better.columns["ref_logprobs"] - np.float32(2.0)), worse


def explored(rng: np.random.Generator) -> Group:
    """A pair of which either answer, at random, is the reference's."""
    side = int(rng.integers(2))
    return tuple(_filled(item, from_reference=float(number == side)) for number, item in enumerate(pairs(rng)))


def ranked(rng: np.random.Generator) -> Group:
    """Three answers, of which the last two tie."""
    return tuple(_filled(_answer(rng), rank=float(rank)) for rank in (0, 1, 1))


def labelled(rng: np.random.Generator) -> Group:
    """One answer, good or bad."""
    return (_filled(_near(rng), label=1.0 - 2.0 * float(rng.integers(2))),)


def mismatched(rng: np.random.Generator) -> Group:
    """One answer, good or bad, and one that belongs to another prompt, which the policy likes more than the reference does."""
    other = _near(rng)
    return (*labelled(rng), other.with_columns(ref_logprobs=other.columns["ref_logprobs"] - np.float32(0.5)))


def _filled(item: Example, **values: float) -> Example:
    return item.with_columns(**{name: np.full(len(item.tokens), value, np.float32) for name, value in values.items()})


def samples(rng: np.random.Generator) -> Group:
    """Half of the answers good, half bad; old log-probs not far from those of a random model."""
    columns = {"old_logprobs": 0.3, "ref_logprobs": 0.3}
    answers = [_answer(rng, **columns) for _ in range(4)]
    shifted = [item.with_columns(**{name: item.columns[name] - np.float32(math.log(VOCAB)) for name in columns}) for item in answers]
    return tuple(
        item.with_columns(advantages=np.full(len(item.tokens), 1 - 2 * (number % 2), np.float32)) for number, item in enumerate(shifted)
    )


def rankings(rng: np.random.Generator) -> Group:
    """Two to four answers; what counts is their last token."""
    answers = []
    for rank in range(int(rng.integers(2, 5))):
        length = int(rng.integers(SHORTEST, LONGEST + 1))
        columns = {"rank": rank, "margin": 0.3, "prob": 0.8}
        mask = [*[0] * (length - 1), 1]
        answers.append(example(rng.integers(0, VOCAB, length), mask, **{name: np.full(length, value) for name, value in columns.items()}))
    return tuple(answers)


def solutions(rng: np.random.Generator) -> Group:
    """One answer of which two steps were judged, where they end."""
    item = _answer(rng)
    mask = np.zeros(len(item.tokens), np.float32)
    mask[[2, -2]] = 1.0
    return (replace(item, loss_mask=mask).with_columns(correct=rng.integers(0, 2, len(mask)).astype(np.float32)),)


def critiques(rng: np.random.Generator) -> Group:
    item = _answer(rng, returns=1.0)
    return (item.with_columns(values=item.columns["returns"] + rng.uniform(-0.15, 0.15, len(item.tokens)).astype(np.float32)),)


@dataclass(frozen=True, kw_only=True)
class Case:
    """label: what an objective compares with: a column, the tokens, or what is before them. goal: a metric, and the range in which eight
    examples learned by heart leave it. start: metrics when the policy is its own reference, numbers or what they are of a batch; without
    them no_start says why.
    """

    objective: Objective
    group: Callable[[np.random.Generator], Group]
    label: str
    start: Mapping[str, float | Callable[[Batch], float]] = field(default_factory=dict)
    no_start: str = ""
    goal: tuple[str, float, float]
    has_scalar: bool = False
    has_reference: bool = False
    reference_seed: int = 0  # of another model than the policy
    has_constants: bool = False  # a part of the loss counts as a constant, so the loss is not what the slope is the slope of

    def drawn(self, count: int, seed: int = 0) -> list[Group]:
        rng = np.random.default_rng(seed)
        return [self.group(rng) for _ in range(count)]

    def served(self, groups: Sequence[Group], model: Model) -> list[Group]:
        """What a step gets: with what some losses take from all of its groups at once."""
        if not isinstance(self.objective, StepWide):
            return list(groups)
        return self.objective.of_step(groups, lambda items: column_of(model, items, logprobs, rows=8, length=LONGEST))

    def groups(self, count: int, seed: int = 0) -> list[Group]:
        return self.served(self.drawn(count, seed), self.model())

    def model(self, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Model:
        return tiny_model(seed=seed, dtype=dtype, has_scalar=self.has_scalar)

    def reference(self, *, dtype: torch.dtype = torch.float32) -> Model | None:
        """The frozen model that some objectives read in every step: what the policy is at first, or a teacher."""
        return self.model(seed=self.reference_seed, dtype=dtype).requires_grad_(False) if self.has_reference else None

    def trainer(self, model: Model | None = None, *, lr: float = 0.02) -> Trainer:
        model = model or self.model()
        adamw = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
        reference = self.reference(dtype=next(model.parameters()).dtype)
        constant = Schedule(decay_share=0)
        return Trainer("policy", model, self.objective, [adamw], schedule=constant, steps=100, max_length=7, reference=reference)

    def gradients(self, batches: Sequence[Batch]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss and gradients of the same model for these batches."""
        return self.trainer().gradients(batches)


LOG_2 = math.log(2)
NO_MOVE = {"clip_fraction": 0.0, "approx_kl": 0.0}
RIGHT = ("accuracy", 1.0, 1.0)


NO_REFERENCE = "it has no reference to start as"
NO_POLICY = "a reward model has no reference to start as"


def preference(
    objective: Objective,
    start: float | Callable[[Batch], float] | None = None,
    group: Callable[[np.random.Generator], Group] = pairs,
    **more: Any,
) -> Case:
    """A preference loss; its loss where the policy is its own reference, if it has one. The label is the reference, or else the tokens."""
    label = "ref_logprobs" if "ref_logprobs" in objective.needs else "tokens"
    begins = {"no_start": NO_REFERENCE} if start is None else {"start": {"loss": start}}
    return Case(**{"objective": objective, "group": group, "label": label, "goal": RIGHT, **begins, **more})


def taught(objective: Objective) -> Case:
    """A divergence from a teacher; it is read before a token, whichever token that is."""
    return Case(
        objective=objective, group=texts, label="before", start={"loss": 0.0}, goal=("loss", 0, 0.05), has_reference=True, reference_seed=5
    )


def scoring(objective: Objective, group: Callable[[np.random.Generator], Group], label: str) -> Case:
    """What a reward model learns from."""
    return Case(objective=objective, group=group, label=label, no_start=NO_POLICY, goal=RIGHT, has_scalar=True)


def a_token(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The reference's log-prob a token of the better answers, and of the worse."""
    return batch.pairs(batch.mean(batch["ref_logprobs"]))


def longer(batch: Batch) -> torch.Tensor:
    """By how many tokens the better answer is longer, (G,)."""
    better, worse = batch.pairs(batch.lengths())
    return better - worse


def apart(batch: Batch) -> torch.Tensor:
    """By how much the better answer's score is higher, (G,)."""
    better, worse = batch.pairs(batch.mean(batch["score"]))
    return better - worse


def of_the_reference(batch: Batch) -> float:
    """The log-prob of the reference's answer of a pair, on average."""
    return float(batch.by_group(batch.sum(batch["ref_logprobs"] * batch["from_reference"])).mean())


CASES = {
    "cross-entropy": Case(objective=CrossEntropy(), group=texts, label="tokens", no_start=NO_REFERENCE, goal=("loss", 0, 0.1)),
    "dpo": preference(DPO(beta=0.3), LOG_2),
    "cdpo": preference(DPO(label_noise=0.1), LOG_2),
    "dpo a token, anchored": preference(DPO(is_per_token=True, nll_coef=0.1), lambda batch: LOG_2 - 0.1 * float(a_token(batch)[0].mean())),
    "robust dpo": preference(RobustDPO(), LOG_2),
    "ipo": preference(IPO(beta=1.0), 0.25),
    "ipo a token": preference(IPO(beta=1.0, is_per_token=True), 0.25),
    "gpo hinge": preference(GPO(), 1.0),
    "gpo squared": preference(GPO(convex="squared"), 1.0),
    "gpo savage": preference(GPO(convex="savage"), 0.25),
    "slic": preference(SLiC()),
    "kto": preference(KTO(), 0.5, mismatched),
    "bco": preference(BCO(), LOG_2, labelled),
    "orpo": preference(ORPO(odds_coef=5.0)),
    "cpo": preference(CPO()),
    "simpo": preference(SimPO()),
    "r-dpo": preference(RDPO(length_coef=0.0), LOG_2),
    "r-dpo with lengths": preference(RDPO(), lambda batch: float(softplus(-0.05 * longer(batch)).mean())),
    "odpo": preference(ODPO(), lambda batch: float(softplus(apart(batch).log1p()).mean()), scored_pairs),
    "sppo": preference(SPPO(beta=1.0), 0.5, near_pairs),
    "nca": preference(NCA(), 2 * LOG_2),
    "apo zero": preference(APO(), 1.0),
    "apo down": preference(APO(anchor="down"), 1.0),
    "exo": preference(EXO(label_noise=0.1), -LOG_2 - 0.5 * math.log(0.9 * 0.1)),
    "discopop": preference(DiscoPOP(beta=0.3), 0.5 + 0.5 * LOG_2, won_pairs, goal=("loss", 0, 0.05)),  # one on the wrong side: above 0.09
    "f-dpo": preference(FDPO(), LOG_2),
    "f-dpo alpha": preference(FDPO(divergence="alpha", alpha=0.1), LOG_2),
    "ld-dpo": preference(LDDPO(), LOG_2),
    "wpo": preference(WPO(beta=3.0), lambda batch: LOG_2 * float(sum(a_token(batch)).exp().mean()), has_constants=True),
    "cpl": preference(CPL()),
    "aot": preference(AOT(), LOG_2, label="tokens"),
    "aot, unpaired": preference(AOT(is_paired=False), LOG_2, label="tokens"),
    "rrhf": preference(RRHF(nll_coef=0.1), None, ranked),
    "tdpo": preference(TDPO(), LOG_2, has_reference=True, has_constants=True),
    "tdpo 1": preference(TDPO(version=1), LOG_2, has_reference=True),
    "xpo": preference(XPO(), lambda batch: LOG_2 + 1e-5 * of_the_reference(batch), explored),
    "xpo, very optimistic": preference(
        XPO(optimism=0.1),
        lambda batch: LOG_2 + 0.1 * of_the_reference(batch),
        explored,
        goal=("reference_answer_logprob", -math.inf, -20.0),
    ),
    "gkd": taught(GKD()),
    "gkd forward": taught(GKD(beta=0.0, reduction="sequence")),
    "gkd between": taught(GKD(beta=0.4)),
    "ppo": Case(objective=PolicyGradient(), group=samples, label="advantages", start=NO_MOVE, goal=("loss", -0.25, -0.15)),
    "grpo": Case(
        objective=PolicyGradient(kl_coef=0.01, kl="k3", reduction="sequence"),
        group=samples,
        label="ref_logprobs",
        start=NO_MOVE,
        goal=("loss", -0.2, -0.1),
    ),
    "dr-grpo": Case(
        objective=PolicyGradient(kl_coef=0.01, kl="k2", reduction="length"),
        group=samples,
        label="old_logprobs",
        start=NO_MOVE,
        goal=("loss", -0.2, -0.05),
    ),
    "dapo": Case(
        objective=PolicyGradient(kl_coef=0.01, kl="ratio_k3", clip_high=0.28, entropy_coef=0.001),
        group=samples,
        label="tokens",
        start=NO_MOVE,
        goal=("loss", -0.25, -0.1),
    ),
    "gspo": Case(
        objective=PolicyGradient(ratio="sequence", clip_low=0.05, clip_high=0.05, reduction="sequence"),
        group=samples,
        label="advantages",
        start=NO_MOVE,
        goal=("loss", -0.06, -0.04),
    ),
    "two-sided": Case(
        objective=PolicyGradient(max_ratio=2.0), group=samples, label="old_logprobs", start=NO_MOVE, goal=("loss", -0.25, -0.15)
    ),
    "cispo": Case(
        objective=CISPO(kl_coef=0.01), group=samples, label="advantages", start=NO_MOVE, goal=("approx_kl", 0.5, 100), has_constants=True
    ),
    "sapo": Case(objective=SAPO(), group=samples, label="advantages", start={"approx_kl": 0}, goal=("loss", -3, -1)),
    "reinforce": Case(objective=REINFORCE(), group=samples, label="advantages", start={"approx_kl": 0}, goal=("approx_kl", 0.5, math.inf)),
    "ranking": scoring(Ranking(), rankings, "rank"),
    "ranking-centred": scoring(Ranking(centre=0.1, margin=0.5), rankings, "tokens"),
    "ranking, surer": scoring(Ranking(has_margins=True, has_probs=True, ties="half"), rankings, "rank"),
    "process": scoring(Process(), solutions, "correct"),
    "value": Case(
        objective=Value(),
        group=critiques,
        label="returns",
        start={"loss": 0, "value_error": 0},
        goal=("value_error", 0, 0.02),
        has_scalar=True,
    ),
}
