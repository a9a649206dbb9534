"""The words everyone uses: documents, messages, preferences, examples. NumPy only, no tensors.

A column is an array aligned with the tokens of its example: entry t speaks about token t, never about the next one.

    column         meaning at token t                              written by           read by
    loss_mask      how much token t counts (0: prompt, padding)    renderer, sources    reduce
    old_logprobs   log-prob under the policy that sampled it       engine               policy_gradient
    ref_logprobs   log-prob under the reference                    annotate             preference losses, kl
    values         critic's estimate before t is emitted           annotate             gae, value
    advantages     credit of token t                               credit rules         policy_gradient
    returns        the critic's target before t                    gae                  value
    rank           place of the whole answer, 0 is best            rankings             ranking, rrhf
    prob           that the first answer of a pair is better       rankings             ranking
    margin         how much better the better answers are          rankings             ranking
    score          how good the whole answer was found             rankings             odpo
    label          1: the whole answer is good, -1: bad            rankings, labels     kto, bco
    baseline       what the log-ratio is compared with             of_step              kto, bco, aot
    teacher_logprobs log-prob under a teacher                      rollouts             distillation
    importance     trainer's probability over the sampler's, <= 2  rollouts             policy losses
    policy_step    version of the weights it comes from, in phases samplers elsewhere   rollouts
    from_reference 1: an answer that the reference gave            rollouts             xpo
    noise_key      what the noise on its embedding follows from    data/noise.py        nn/noise.py
    noise_scale    the largest number of that noise                data/noise.py        nn/noise.py
    dropout_key    what is dropped of what layers add follows from data/noise.py        nn/noise.py
    dropout_share  which share of it                               data/noise.py        nn/noise.py
    correct        how right the step is that ends at t, 0 to 1    solutions            process

A batch that lacks a column an objective needs is refused by name, before the first forward pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

Role = Literal["system", "user", "assistant", "tool"]
Metrics = dict[str, Any]  # name -> a number, or a scalar tensor that becomes one when it is logged

COLUMN_WRITERS = {
    "old_logprobs": "the engine that samples",
    "ref_logprobs": "`prefer` and `reinforce`, which read the model that they start from",
    "values": "the critic of `reinforce`",
    "advantages": "a credit rule of `reinforce`",
    "returns": "the credit rule `gae`",
    "rank": "a file of rankings",
    "prob": "a file of pairs with 'prob'",
    "margin": "a file of rankings with 'margin'",
    "score": "a file of answers with scores",
    "label": "a file of answers that were found good or bad, or of rankings",
    "baseline": "the objective's own `of_step`, before each step",
    "importance": "`reinforce` with another sampler than the trainer",
    "from_reference": "`reinforce`, which samples from the reference too",
    "noise_key": "`neftune_alpha`",
    "noise_scale": "`neftune_alpha`",
    "dropout_key": "`dropout`",
    "dropout_share": "`dropout`",
    "correct": "a file of solutions whose steps were judged",
}


@dataclass(frozen=True, slots=True)
class Document:
    """A text with a name; `meta` keeps every field of the record that is not one of ours."""

    text: str
    id: str = ""
    source: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `weight` scales its loss, if it is the assistant's."""

    role: Role
    content: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in order; `weight` scales the loss of the whole conversation."""

    messages: tuple[Message, ...]
    weight: float = 1.0
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def answer_weight(self) -> float:
        """The weight of the last answer: its own times the conversation's; 0 if the assistant says nothing."""
        own = [message.weight for message in self.messages if message.role == "assistant"]
        return self.weight * own[-1] if own else 0.0


@dataclass(frozen=True, slots=True)
class Preference:
    """Answers to one prompt and their order: `ranks[i]` is the place of response i, 0 is best, equal ranks are ties."""

    prompt: tuple[Message, ...]
    responses: tuple[str, ...]
    ranks: tuple[int, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_stopped(self) -> Sequence[bool]:
        """Whether each answer ended by itself, as `stopped` of the record says; without it all did."""
        return self.meta.get("stopped") or (True,) * len(self.responses)


@dataclass(frozen=True, slots=True)
class Match:
    """Two models on one prompt: `score` is that of the first, 1 if it was better, 0 if worse, 1/2 for a draw; or how likely it is better.

    values: what each answer was worth by a measure of its own, such as right or wrong, where that is known.
    """

    models: tuple[str, str]
    score: float
    prompt: tuple[Message, ...] = ()
    answers: tuple[str, str] | None = None
    values: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Solution:
    """An answer in steps, each judged by itself: `labels[i]` is how right step i is, from 0 to 1, None where nobody said."""

    prompt: tuple[Message, ...]
    steps: tuple[str, ...]
    labels: tuple[float | None, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence of tokens with its columns.

    tokens: (L,) int32. loss_mask: (L,) float32; entry 0 never counts, because nothing comes before it.
    columns: name -> (L,) float32, aligned with tokens. meta travels along and is never turned into tensors.
    """

    tokens: np.ndarray
    loss_mask: np.ndarray
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)

    def with_columns(self, **columns: np.ndarray) -> "Example":
        """Return the example with more columns, or with new values in old ones."""
        return replace(self, columns={**self.columns, **columns})

    @property
    def response(self) -> np.ndarray:
        """The tokens that count, in order."""
        return self.tokens[self.loss_mask > 0]


Group = Sequence[Example]  # judged together: one text | a pair, better first | K answers to a prompt


def example(tokens: Sequence[int] | np.ndarray, loss_mask: Sequence[float] | np.ndarray | None = None, **columns: Any) -> Example:
    """Build an Example from plain sequences; without a mask every token but the first counts."""
    ids = np.asarray(tokens, np.int32)
    mask = np.ones(len(ids), np.float32) if loss_mask is None else np.array(loss_mask, np.float32)
    mask[:1] = 0
    return Example(ids, mask, {name: np.asarray(value, np.float32) for name, value in columns.items()})


def num_common(first: Sequence[int] | np.ndarray, second: Sequence[int] | np.ndarray) -> int:
    """How many tokens two sequences begin with alike."""
    size = min(len(first), len(second))
    differs = np.flatnonzero(np.asarray(first[:size]) != np.asarray(second[:size]))
    return int(differs[0]) if len(differs) else size
