"""What simulated annotators like in an answer, and how they rank: the known truth behind the quickstart's preferences.

People's true taste is unknown, so nothing that learns from people can be checked against it. Here it is written down: the
rule is applied with a stated error rate to rank answers, a reward model sees the rankings only, and the report can draw
the true score beside the learned one.
"""

import re
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from trivium.core.config import component

MIN_WORDS, MAX_WORDS = 7, 14  # of a brief answer


@component
class AnswerRule:
    """True score of an answer to a question about a word, in [0, 1]: the weighted mean of four parts, each in [0, 1].

    names: the asked word is in the answer. sentence: it begins with a capital, ends with its only full stop and stopped by
    itself. fresh: the share of its words that are new in it. brief: 1 between 7 and 14 words, falling to 0 at no word and
    at 28.
    """

    names: float = Field(default=2.0, ge=0)
    sentence: float = Field(default=1.0, ge=0)
    fresh: float = Field(default=1.0, ge=0)
    brief: float = Field(default=1.0, ge=0)

    def __post_init__(self) -> None:
        if not self.names + self.sentence + self.fresh + self.brief:
            raise ValueError("all weights are 0; at least one of names, sentence, fresh and brief must be above 0")

    def parts(self, asked: str, answer: str, stopped: bool) -> dict[str, float]:
        """How far the answer gets each of the four right."""
        words = re.findall(r"[a-z'-]+", answer.lower())
        return {
            "names": float(asked.lower() in words),
            "sentence": float(stopped and re.fullmatch(r"[A-Z][^.]*\.", answer.strip()) is not None),
            "fresh": len(set(words)) / len(words) if words else 0.0,
            "brief": max(0.0, min(1.0, len(words) / MIN_WORDS, 2 - len(words) / MAX_WORDS)),
        }

    def __call__(self, asked: str, answer: str, stopped: bool) -> float:
        """The weighted mean of the parts."""
        weights = {"names": self.names, "sentence": self.sentence, "fresh": self.fresh, "brief": self.brief}
        parts = self.parts(asked, answer, stopped)
        return sum(weights[name] * value for name, value in parts.items()) / sum(weights.values())


@component
class Annotators:
    """Rank answers by true score plus noise: Plackett-Luce, that is Gumbel noise on score / temperature.

    temperature sets how often a pair is put the wrong way round. InstructGPT's labelers agreed with each other on
    72.6 +- 1.5 % of pairs (Ouyang et al. 2022, section 3.4), so a pair error rate near 27 % is human.
    """

    rule: AnswerRule = AnswerRule()
    temperature: float = Field(default=0.08, gt=0)

    def rank(self, scores: Sequence[float], noise: np.random.Generator) -> list[int]:
        """Place of each answer, 0 is best."""
        utility = np.asarray(scores) / self.temperature + noise.gumbel(size=len(scores))
        places = np.empty(len(scores), np.int64)
        places[np.argsort(-utility, kind="stable")] = np.arange(len(scores))
        return places.tolist()


def pair_counts(scores: Sequence[float], ranks: Sequence[int]) -> tuple[int, int]:
    """(pairs whose order in `ranks` is that of the scores, pairs whose scores differ)."""
    right = total = 0
    for i in range(len(scores)):
        for j in range(i):
            if scores[i] != scores[j]:
                total += 1
                right += (scores[i] > scores[j]) == (ranks[i] < ranks[j])
    return right, total
