"""AI feedback: which of two answers is better by a principle, as a probability that does not depend on which one is shown first.

Bai et al. 2022, arXiv:2212.08073, section 4.1: a multiple-choice question for a principle, and the probabilities of "(A)" and "(B)" among
the two as a soft label; of a model that has reasoned they are near 0 and 1, and are kept within 0.4 and 0.6; labels by several principles
are averaged. Differences: both orders are always asked and averaged (Lee et al. 2023, arXiv:2309.00267, section 2.1.1); the texts are ours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from trivium.core.types import Message, Preference
from trivium.score.choice import Question
from trivium.synth.constitution import Constitution, Principle
from trivium.text.write import plain_turns

OPTIONS = (" (A)", " (B)")
OPENING = "The answer is:"
CLAMPED = 0.4  # of a judge that reasons, or only says which: labels stay between this and 1 less this

_TEMPLATE = """Consider this conversation between a user and an assistant:

{conversation}

{comparison}
Options:
(A) {first}
(B) {second}"""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers to a prompt, in the order in which they are shown, and the principle. number: of the prompt; is_swapped: the order."""

    prompt: tuple[Message, ...]
    first: str
    second: str
    principle: Principle
    number: int
    is_swapped: bool = False

    def swapped(self) -> "Comparison":
        """The same in the other order."""
        return replace(self, first=self.second, second=self.first, is_swapped=not self.is_swapped)

    @property
    def text(self) -> str:
        """As a model is asked."""
        conversation = "\n\n".join(f"{message.role}: {message.content}" for message in self.prompt)
        return _TEMPLATE.format(conversation=conversation, comparison=self.principle.comparison, first=self.first, second=self.second)


def question(comparison: Comparison, constitution: Constitution, *, reasons: str = "") -> Question:
    """The comparison behind the constitution's examples. reasons: what stands before the reasoning of an example, if there is to be one."""
    turns: list[Message] = []
    for example in constitution.compared:
        asked = (Message("user", example.prompt),)
        shown = Comparison(asked, example.first, example.second, constitution.named(example.principle), 0)
        reasoning = f"{reasons} {example.reasoning}\n\n" if reasons else ""
        turns += [Message("user", shown.text), Message("assistant", f"{reasoning}{OPENING} ({example.answer})")]
    return Question((*turns, Message("user", comparison.text)), OPENING)


def in_both_orders(shown: float | None, swapped: float | None) -> float | None:
    """How probable it is that the answer shown first in the first order is better; None if the judge was not understood in one of them.

    shown, swapped: the probability of the one that was shown first, in either order. A judge that looks at the place only gives 1/2.
    """
    return None if shown is None or swapped is None else 0.5 + (shown - swapped) / 2


def label(by_principle: Sequence[float | None], lowest: float) -> float | None:
    """The mean over the principles by which the judge was understood, kept within lowest and 1 - lowest; None if there is none."""
    found = [prob for prob in by_principle if prob is not None]
    return min(max(sum(found) / len(found), lowest), 1 - lowest) if found else None


def pairs_of_people(preference: Preference) -> Iterator[dict[str, Any]]:
    """The pairs of a ranking, the better answer first, as rows with the probability 1; ties make none."""
    stopped = preference.is_stopped
    order = sorted(range(len(preference.responses)), key=lambda place: preference.ranks[place])
    for better, worse in combinations(order, 2):
        if preference.ranks[better] < preference.ranks[worse]:
            responses, ends = [preference.responses[better], preference.responses[worse]], [stopped[better], stopped[worse]]
            yield {"prompt": plain_turns(preference.prompt), "responses": responses, "prob": 1.0, "stopped": ends}
