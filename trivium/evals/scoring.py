"""What a task asks of a model, and what its answers are worth: one class a way of asking, each its own configuration.

The first four ask how likely texts are; `answer` lets the model speak. Each gives numbers for one item; what they make together is
`measures.py`'s.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from trivium.core.config import Texts, component
from trivium.core.errors import DataError
from trivium.evals.templates import evaluate, render
from trivium.score.rewards import AnyReward, Exact

Fields = Mapping[str, Any]
Ratio = tuple[float, float]  # what is summed, over what is counted
Scores = dict[str, "float | Ratio"]  # measure -> an item's number


@dataclass(frozen=True, slots=True)
class Request:
    """How likely is the continuation after the context? is_whole: the continuation is a text of its own, in windows if it is long."""

    context: str
    continuation: str
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Sum of log-probs in nats, and whether greedy decoding would have said the same."""

    logprob: float
    is_greedy: bool


@component
class Choices:
    """Multiple choice: the likeliest choice is the model's answer. Of equally likely ones it is the first.

    choices: expression, a list of texts; gold: expression, the place of the right one (or of several), or its text. ending: a template;
    with it the choices end the context, and the ending, the same for all, is what is scored (Winogrande's partial evaluation).
    acc: by the sum of log-probs; acc_norm: by that over the characters of the choice, as lm-eval has it; acc_bytes: over its bytes
    (Brown et al. 2020, arXiv:2005.14165, section 2.4, have tokens), which differs where letters are not ASCII.
    """

    kind: Literal["choices"] = "choices"
    choices: str = "choices"
    gold: str = "gold"
    ending: str = ""

    def requests(self, context: str, fields: Fields, delimiter: str, where: str) -> list[Request]:
        """One for each choice."""
        choices = self._choices(fields, where)
        if self.ending:
            ending = delimiter + render(self.ending, fields, f"{where} ending")
            return [Request(context + choice, ending) for choice in choices]
        return [Request(context, delimiter + choice) for choice in choices]

    def shot(self, fields: Fields, where: str) -> str:
        """The right choice, with the ending if there is one."""
        choice = self._choices(fields, where)[self.right(fields, where)[0]]
        return f"{choice} {render(self.ending, fields, f'{where} ending')}" if self.ending else choice

    def scores(self, found: Sequence[Likelihood], fields: Fields, where: str) -> Scores:
        """acc, and unless what is scored is the same for all, acc_norm and acc_bytes."""
        choices, gold = self._choices(fields, where), self.right(fields, where)
        logprobs = np.array([each.logprob for each in found])
        by = {"acc": np.ones(len(choices))}
        if not self.ending:
            by |= {"acc_norm": np.array([len(each) for each in choices]), "acc_bytes": np.array([len(each.encode()) for each in choices])}
        return {name: float(int(np.argmax(logprobs / size)) in gold) for name, size in by.items()}

    def _choices(self, fields: Fields, where: str) -> list[str]:
        found = evaluate(self.choices, fields, f"{where} choices")
        if not isinstance(found, list) or len(found) < 2 or not all(isinstance(each, str) and each for each in found):
            raise DataError(f"{where} choices: {str(found)[:80]!r}; a list of two texts or more, none of them empty, is expected")
        return found

    def right(self, fields: Fields, where: str) -> list[int]:
        """The places of the right choices. Raises DataError if what `gold` says is none."""
        found, choices = evaluate(self.gold, fields, f"{where} gold"), self._choices(fields, where)
        places = found if isinstance(found, list) and found else [found]
        places = [choices.index(each) if isinstance(each, str) and each in choices else each for each in places]
        if any(isinstance(each, bool) or not isinstance(each, int) or not 0 <= each < len(choices) for each in places):
            raise DataError(
                f"{where} gold: {str(found)[:80]!r}; the place of a choice is expected, from 0 to {len(choices) - 1}, or its text"
            )
        return places


@component
class Pair:
    """Two texts that differ in one thing: which one the model finds likelier (BLiMP, CrowS-Pairs, WinoBias).

    first, second: templates. first_preferred: 1 if the first is likelier, 1/2 if both are equally so. difference: of their log-probs,
    without its sign, in nats. entropy: in bits, of the choice between them with their probabilities, at most 1; the higher the less
    it matters to the model (Ouyang et al. 2022, arXiv:2203.02155, appendix D).
    """

    kind: Literal["pair"] = "pair"
    first: str
    second: str

    def requests(self, context: str, fields: Fields, delimiter: str, where: str) -> list[Request]:
        """Both texts. After an empty context nothing stands before them."""
        texts = (_text(self.first, fields, f"{where} first"), _text(self.second, fields, f"{where} second"))
        return [Request(context, (delimiter if context else "") + text) for text in texts]

    def shot(self, fields: Fields, where: str) -> str:
        """The first text."""
        return render(self.first, fields, f"{where} first")

    def scores(self, found: Sequence[Likelihood], fields: Fields, where: str) -> Scores:
        """first_preferred, difference and entropy."""
        margin = found[0].logprob - found[1].logprob
        preferred = 0.5 if margin == 0 else float(margin > 0)
        return {"first_preferred": preferred, "difference": abs(margin), "entropy": binary_entropy(margin)}


@component
class Continuation:
    """One text that should follow: acc, whether greedy decoding says it, and how likely it is (LAMBADA: the last word).

    target: template. nats: -log-prob of the target; perplexity: exp of its mean over items.
    """

    kind: Literal["continuation"] = "continuation"
    target: str

    def requests(self, context: str, fields: Fields, delimiter: str, where: str) -> list[Request]:
        """The target."""
        return [Request(context, delimiter + self.shot(fields, where))]

    def shot(self, fields: Fields, where: str) -> str:
        """The target."""
        return _text(self.target, fields, f"{where} target")

    def scores(self, found: Sequence[Likelihood], fields: Fields, where: str) -> Scores:
        """acc, nats and perplexity."""
        [one] = found
        return {"acc": float(one.is_greedy), "nats": -one.logprob, "perplexity": -one.logprob}


@component
class Text:
    """How likely whole texts are, the prompt being the text: bits_per_byte, and perplexity a byte and a word (between white space)."""

    kind: Literal["text"] = "text"

    def requests(self, context: str, fields: Fields, delimiter: str, where: str) -> list[Request]:
        """The text."""
        if not context.strip():
            raise DataError(f"{where} prompt: is empty; it is the text that is measured")
        return [Request("", context, is_whole=True)]

    def scores(self, found: Sequence[Likelihood], fields: Fields, where: str) -> Scores:
        """Sums over sizes; the text's own size is written beside its likelihood by the harness as the field `text`."""
        [one], text = found, fields["text"]
        size = len(text.encode())
        words = (-one.logprob, max(1, len(text.split())))
        return {"bits_per_byte": (-one.logprob / math.log(2), size), "byte_perplexity": (-one.logprob, size), "word_perplexity": words}


@component
class Answer:
    """The model answers, and a rule says what its answer is worth (docs/rewards.md has them all).

    target: template, the answer of an example. stop: texts that end an answer and are cut off. samples: answers an item, with a
    temperature. Rules that say 0 or 1 of several samples give pass@k, without bias (Chen et al. 2021, arXiv:2107.03374, eq. 1), for k of
    1, 10, 100 and all. is_chat: prompt and examples are turns of a conversation, in the model's chat format.
    """

    kind: Literal["answer"] = "answer"
    target: str = "{{answer}}"
    rule: AnyReward = Exact()
    stop: Texts = ()
    max_new_tokens: int = Field(default=256, gt=0)
    temperature: float = Field(default=0.0, ge=0, le=1e3)
    samples: int = Field(default=1, gt=0, le=1024)
    is_chat: bool = False

    def __post_init__(self) -> None:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(f"samples is {self.samples}, but greedy answers are all the same; set temperature, to 0.8 for example")

    def shot(self, fields: Fields, where: str) -> str:
        """The answer of an example."""
        return render(self.target, fields, f"{where} target")


@component
class Preference:
    """Which of two answers to the prompt a reward model scores higher, as RewardBench has it (Lambert et al. 2024, arXiv:2403.13787).

    chosen, rejected: templates, or expressions that give lists of answers, of which every pair counts (RM-Bench); the prompt is the user's
    turn. accuracy: 1 if the chosen one scores higher, 1/2 if both are equal (the paper counts that as wrong); margin: by how much.
    length_accuracy: what a judge that prefers the longer answer would have, which a reward model should be above.
    """

    kind: Literal["preference"] = "preference"
    chosen: str = "chosen"
    rejected: str = "rejected"

    def answers(self, fields: Fields, where: str) -> tuple[list[str], list[str]]:
        """The chosen and the rejected answers of a record. Raises DataError if there are none."""
        found = [evaluate(option, fields, f"{where} {name}") for name, option in (("chosen", self.chosen), ("rejected", self.rejected))]
        lists = [value if isinstance(value, list) else [value] for value in found]
        for name, texts in zip(("chosen", "rejected"), lists, strict=True):
            if not texts or not all(isinstance(text, str) for text in texts):
                raise DataError(f"{where} {name}: {str(texts)[:80]!r}; a text or a list of texts is expected")
        return lists[0], lists[1]

    def scores(self, chosen: Sequence[float], rejected: Sequence[float], fields: Fields, where: str) -> Scores:
        """accuracy, margin and length_accuracy, over all pairs of the record."""
        longer = [[len(text) for text in texts] for texts in self.answers(fields, where)]
        pairs = [a - b for a in chosen for b in rejected]
        by_length = [a - b for a in longer[0] for b in longer[1]]
        return {"accuracy": _won(pairs), "margin": float(np.mean(pairs)), "length_accuracy": _won(by_length)}


@component
class Dialogue:
    """A conversation of several turns, each answer graded by the run's judge, and compared with the first model's (MT-bench, both modes).

    turns: expression, what the user says, in order. temperature: expression. reference: expression, an answer to each turn that the judge
    is shown, or nothing. grade: mean over turns, from 1 to `grades`; grade_1, grade_2, ...: of each turn. Zheng et al. 2023,
    arXiv:2306.05685, section 3; difference: a grade that cannot be read is an error, there it is left out. questions: name -> what the
    judge answers with yes or no about each answer, of which the share of yes is told (Ouyang et al. 2022, arXiv:2203.02155, table 3).
    """

    kind: Literal["dialogue"] = "dialogue"
    turns: str = "turns"
    temperature: str = "0.0"
    reference: str = "[]"
    max_new_tokens: int = Field(default=512, gt=0)
    grades: int = Field(default=10, ge=3, le=10)
    questions: dict[str, str] = Field(default={})

    def __post_init__(self) -> None:
        if odd := next((name for name in self.questions if not re.fullmatch(r"[a-z]+(_[a-z]+)*", name) or name == "grade"), None):
            raise ValueError(f"questions: '{odd}' names a measure: small letters with '_' between words, and not 'grade'")

    def said_by_user(self, fields: Fields, where: str) -> list[str]:
        """What the user says. Raises DataError if that is no list of texts."""
        found = evaluate(self.turns, fields, f"{where} turns")
        if not isinstance(found, list) or not found or not all(isinstance(each, str) for each in found):
            raise DataError(f"{where} turns: {str(found)[:80]!r}; a list of texts is expected")
        return found

    def references(self, fields: Fields, where: str) -> list[str]:
        """An answer to each turn, or nothing."""
        found = evaluate(self.reference, fields, f"{where} reference")
        return [str(each) for each in found] if isinstance(found, list) else []

    def warmth(self, fields: Fields, where: str) -> float:
        """The temperature of a record."""
        found = evaluate(self.temperature, fields, f"{where} temperature")
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 2:
            raise DataError(f"{where} temperature: {found!r}; a number from 0 to 2 is expected")
        return float(found)


Alone = Text | Preference | Dialogue  # asked without examples
AnyScoring = Annotated[Choices | Pair | Continuation | Answer | Alone, Field(discriminator="kind")]


def _text(template: str, fields: Fields, where: str) -> str:
    """Of a text whose likelihood is asked. Raises DataError for an empty one, which would be likelier than any other."""
    found = render(template, fields, where)
    if not found.strip():
        raise DataError(f"{where}: is empty; a text that can be likely is expected")
    return found


def _won(margins: Sequence[float]) -> float:
    """The share of margins above 0, those of 0 counted as half."""
    return float(np.mean([0.5 if margin == 0 else float(margin > 0) for margin in margins]))


def binary_entropy(margin: float) -> float:
    """Entropy in bits of a choice between two whose log-odds are `margin` nats.

    >>> round(binary_entropy(math.log(9)), 3)  # 0.9 against 0.1
    0.469
    """
    p = 1 / (1 + math.exp(min(abs(margin), 700.0)))  # the smaller one
    return 0.0 if p == 0 else -(p * math.log2(p) + (1 - p) * math.log1p(-p) / math.log(2))


def pass_at(n: int, correct: int, k: int) -> float:
    """Chance that one of k of n samples is right, of which so many are: 1 - C(n - c, k) / C(n, k) (Chen et al. 2021, eq. 1).

    >>> round(pass_at(5, 2, 1), 6), pass_at(5, 2, 5)
    (0.4, 1.0)
    """
    if n - correct < k:
        return 1.0
    return 1.0 - math.prod(1 - k / i for i in range(n - correct + 1, n + 1))
