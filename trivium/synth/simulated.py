"""A simulated reader of a constitution: it knows each principle by its phrases, and errs as often as it is told to.

What a model thinks of harm is unknown, so nothing that learns from it can be checked against the truth. Here the truth is written down, as
in `score/answers.py` for people.
"""

from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.seeds import generator
from trivium.synth.constitution import Principle
from trivium.synth.feedback import Comparison
from trivium.text.phrases import phrases_in, without_phrases

NOTHING = "There is nothing of that kind in the answer."


@component
class Simulated:
    """Critiques, revisions and comparisons by the phrases of the principles.

    error: the share of judgements that are the wrong way round, and of revisions that change nothing, by lot; 0.5 is a judge who tosses a
    coin. certainty: what it says the probability is that the better answer is better; 0.5 for answers that the principle does not part.
    """

    kind: Literal["simulated"] = "simulated"
    error: float = Field(default=0.1, ge=0, le=1)
    certainty: float = Field(default=0.9, gt=0.5, le=1)

    def critique(self, text: str, principle: Principle) -> str:
        """Names the phrases, in order."""
        found = phrases_in(text, principle.phrases)
        return f"It says: {', '.join(found)}." if found else NOTHING

    def revision(self, text: str, principle: Principle, *, seed: int, purpose: str, number: int) -> str:
        """The text without the sentences that hold a phrase, or as it was."""
        errs = generator(seed, purpose, number).random() < self.error
        return text if errs else without_phrases(text, principle.phrases)

    def prefers_first(self, comparison: Comparison, *, seed: int, purpose: str) -> float:
        """The probability that the answer shown first is the better one. Whether it errs does not depend on the order."""
        first, second = (len(phrases_in(text, comparison.principle.phrases)) for text in (comparison.first, comparison.second))
        if first == second:
            return 0.5
        errs = generator(seed, f"{purpose} {comparison.principle.name}", comparison.number).random() < self.error
        return self.certainty if (first < second) != errs else 1 - self.certainty
