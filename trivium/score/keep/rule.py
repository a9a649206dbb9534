"""What a rule that keeps answers sees of a prompt and of all prompts, and what it gives back.

P prompts, N answers to each. Between equal scores a lot decides: a number that depends on (seed, prompt, answer) alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trivium.core.types import Message
from trivium.text.write import plain_turns

# what the records are read as: by `finetune`, by `reward` and `prefer`, or by `reward objective=process`
Makes = Literal["conversations", "preferences", "solutions"]


@dataclass(frozen=True, slots=True)
class Scored:
    """The answers to one prompt.

    is_stopped: whether each ended by itself. lots: what decides between equal scores, (N,). demonstration: the answer that the record of
    the prompt had. steps, step_shares: of each answer, where it was cut into steps, these and the shares of rollouts from them that arrive.
    """

    prompt: tuple[Message, ...]
    responses: tuple[str, ...]
    scores: np.ndarray
    is_stopped: np.ndarray
    lots: np.ndarray
    demonstration: str = ""
    steps: Sequence[Sequence[str]] = ()
    step_shares: Sequence[Sequence[float]] = ()

    @property
    def is_usable(self) -> np.ndarray:
        """Which answers may be shown as an example, (N,): those that ended by themselves, are not empty and were not given before."""
        return usable(self.responses, self.is_stopped)

    @property
    def order(self) -> list[int]:
        """The answers from the best to the worst."""
        return np.lexsort((-self.lots, -self.scores)).tolist()

    @property
    def best_first(self) -> list[int]:
        """The usable answers from the best to the worst."""
        is_usable = self.is_usable
        return [place for place in self.order if is_usable[place]]

    @property
    def turns(self) -> list[dict[str, Any]]:
        """The prompt as JSON."""
        return plain_turns(self.prompt)


@dataclass(frozen=True, slots=True)
class Pool:
    """What the answers to all prompts got, each (P, N)."""

    scores: np.ndarray
    is_usable: np.ndarray
    lots: np.ndarray


@dataclass(frozen=True, slots=True)
class Kept:
    """The records that a prompt gives, and the places of the answers in them; without a record the reason in words."""

    records: Sequence[dict[str, Any]] = ()
    places: Sequence[int] = ()
    why_none: str = ""


Choose = Callable[[Scored], Kept]


def usable(responses: Sequence[str], is_stopped: np.ndarray) -> np.ndarray:
    """Which answers to one prompt ended by themselves, are not empty and were not given before, (N,)."""
    seen: set[str] = set()
    found = np.zeros(len(responses), bool)
    for place, (text, stopped) in enumerate(zip(responses, is_stopped, strict=True)):
        found[place] = bool(stopped) and bool(text.strip()) and text not in seen
        if stopped:
            seen.add(text)
    return found


def demonstrations(asked: Scored, places: Sequence[int], why_none: str) -> Kept:
    """Conversations in which the prompt is answered by these answers, with their score as a field."""
    records = [
        {"messages": plain_turns([*asked.prompt, Message("assistant", asked.responses[place])]), "score": float(asked.scores[place])}
        for place in places
    ]
    return Kept(records, places, "" if records else why_none)
