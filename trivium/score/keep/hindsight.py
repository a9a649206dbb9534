"""Hindsight: every answer becomes a demonstration of the request that it does fulfil."""

from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from trivium.core.config import Texts, component
from trivium.core.errors import DataError
from trivium.core.types import Message
from trivium.score.keep.rule import Choose, Kept, Makes, Pool, Scored
from trivium.text.write import plain_turns


@component
class Hindsight:
    """Before the last question comes what its answer reached: controls, from the worst to the best; the best is what one asks for later.

    An answer that scores edges[i] or more gets controls[i + 1]; without edges they are the quantiles that part all answers evenly.
    is_asked: the model is asked with the best control before the question, as it should be once it has learned what the controls mean.
    Hindsight instruction relabelling (Zhang et al. 2023, arXiv:2302.05206), chain of hindsight with one answer (Liu et al. 2023,
    arXiv:2302.02676), and with quantiles the reward tokens of Quark (Lu et al. 2022, arXiv:2205.13636) as words. Differences from HIR:
    plain cross-entropy, without its contrastive and entropy terms.
    """

    makes: ClassVar[Makes] = "conversations"
    kind: Literal["hindsight"] = "hindsight"
    controls: Texts = Field(default=("Bad answer:", "Good answer:"), min_length=2)
    edges: tuple[float, ...] = ()
    is_asked: bool = False

    def __post_init__(self) -> None:
        if len(set(self.controls)) < len(self.controls):
            raise ValueError("controls: two of them are the same, so they would not tell answers apart")
        if self.edges and len(self.edges) != len(self.controls) - 1:
            raise ValueError(f"edges: {len(self.edges)} of them part {len(self.edges) + 1} controls, but there are {len(self.controls)}")
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("edges must rise, from the worst controls to the best")

    def asks(self, prompt: tuple[Message, ...]) -> tuple[Message, ...]:
        """What the model is asked."""
        return _with_control(prompt, self.controls[-1]) if self.is_asked else prompt

    def __call__(self, pool: Pool) -> Choose:
        """What puts the control before a question. Raises DataError if the scores have no quantiles that differ."""
        edges = self.edges or self._quantiles(pool.scores[pool.is_usable])

        def choose(asked: Scored) -> Kept:
            places = np.flatnonzero(asked.is_usable).tolist()
            reached = np.searchsorted(edges, asked.scores[places], side="right").tolist()
            records = [
                {
                    "messages": plain_turns(
                        [*_with_control(asked.prompt, self.controls[level]), Message("assistant", asked.responses[place])]
                    ),
                    "score": float(asked.scores[place]),
                }
                for place, level in zip(places, reached, strict=True)
            ]
            return Kept(records, places, "" if records else "no answer ended by itself")

        return choose

    def _quantiles(self, scores: np.ndarray) -> tuple[float, ...]:
        parts = len(self.controls)
        edges = tuple(np.quantile(scores, np.arange(1, parts) / parts).tolist()) if len(scores) else ()
        if not edges or any(low >= high for low, high in pairwise((scores.min(), *edges))):
            raise DataError(
                f"the scores do not fall into {parts} even parts, because too many of them are equal; say where the controls part with"
                " keep.edges, for right or wrong keep.edges=[1]"
            )
        return edges


def _with_control(prompt: tuple[Message, ...], control: str) -> tuple[Message, ...]:
    """The same prompt with the control before the words of its last turn."""
    return (*prompt[:-1], Message(prompt[-1].role, f"{control} {prompt[-1].content}"))
