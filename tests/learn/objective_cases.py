"""Every objective with the groups it judges. A new objective is in the battery and the spike when it has a line in CASES."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from tests.nn.tiny import VOCAB, tiny_model
from trivium.core.types import Example, Group, example
from trivium.learn.objectives import DPO, IPO, CrossEntropy, Objective, PolicyGradient, Ranking, Value
from trivium.learn.schedules import Schedule
from trivium.nn.batch import Batch
from trivium.nn.model import Model
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
        answers.append(example(rng.integers(0, VOCAB, length), [*[0] * (length - 1), 1], rank=np.full(length, rank)))
    return tuple(answers)


def critiques(rng: np.random.Generator) -> Group:
    item = _answer(rng, returns=1.0)
    return (item.with_columns(values=item.columns["returns"] + rng.uniform(-0.15, 0.15, len(item.tokens)).astype(np.float32)),)


@dataclass(frozen=True, kw_only=True)
class Case:
    """label: what an objective compares with, a column or the tokens. start: metrics when the policy is its own reference.

    goal: a metric, and the range in which eight examples learned by heart leave it.
    """

    objective: Objective
    group: Callable[[np.random.Generator], Group]
    label: str
    start: Mapping[str, float] = field(default_factory=dict)
    goal: tuple[str, float, float]
    has_scalar: bool = False

    def groups(self, count: int, seed: int = 0) -> list[Group]:
        rng = np.random.default_rng(seed)
        return [self.group(rng) for _ in range(count)]

    def model(self, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Model:
        return tiny_model(seed=seed, dtype=dtype, has_scalar=self.has_scalar)

    def trainer(self, model: Model | None = None, *, lr: float = 0.02) -> Trainer:
        model = model or self.model()
        adamw = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
        return Trainer("policy", model, self.objective, [adamw], schedule=Schedule(decay_share=0), steps=100, max_length=7)

    def gradients(self, batches: Sequence[Batch]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss and gradients of the same model for these batches."""
        return self.trainer().gradients(batches)


LOG_2 = math.log(2)
NO_MOVE = {"clip_fraction": 0.0, "approx_kl": 0.0}
RIGHT = ("accuracy", 1.0, 1.0)

CASES = {
    "cross-entropy": Case(objective=CrossEntropy(), group=texts, label="tokens", goal=("loss", 0, 0.1)),
    "dpo": Case(objective=DPO(beta=0.3), group=pairs, label="ref_logprobs", start={"loss": LOG_2, "margin": 0}, goal=RIGHT),
    "ipo": Case(objective=IPO(beta=1.0), group=pairs, label="ref_logprobs", start={"loss": 0.25, "margin": 0}, goal=RIGHT),
    "cdpo": Case(objective=DPO(label_noise=0.1), group=pairs, label="ref_logprobs", start={"loss": LOG_2}, goal=RIGHT),
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
    "ranking": Case(objective=Ranking(), group=rankings, label="rank", goal=RIGHT, has_scalar=True),
    "ranking-centred": Case(objective=Ranking(centre=0.1, margin=0.5), group=rankings, label="tokens", goal=RIGHT, has_scalar=True),
    "value": Case(
        objective=Value(),
        group=critiques,
        label="returns",
        start={"loss": 0, "value_error": 0},
        goal=("value_error", 0, 0.02),
        has_scalar=True,
    ),
}
