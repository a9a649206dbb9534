"""Does a small model, or the same model early in its training, say which texts the large one will know by heart?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.core.seeds import generator
from trivium.report.intervals import share_interval
from trivium.report.svg import Line, line_chart
from trivium.studies.canaries import canaries_of
from trivium.studies.evidence import Training, trainings_of
from trivium.studies.extraction import leading_matches
from trivium.studies.finding import Cell, Control, Figure, Finding
from trivium.studies.study import Preset, Trial
from trivium.studies.suite import suite

HEADER = (
    "predictor", "parameters", "updates", "compute, of the large one's", "texts", "large one knows", "predictor knows", "both",
    "precision", "low", "high", "recall", "recall low", "recall high",
)  # fmt: skip
FEWEST = 10  # texts that the large model must know by heart for anything to be predicted


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one model knows by heart as a guess of what another will. share: of texts that the other knows, which a blind guess hits."""

    predicted: int
    actual: int
    hits: int
    texts: int

    @staticmethod
    def of(predicted_N: np.ndarray, actual_N: np.ndarray) -> "Prediction":
        """From flags of the same texts, (N,) bool each."""
        if predicted_N.shape != actual_N.shape or not predicted_N.size:
            raise DataError(f"{predicted_N.size} predictions of {actual_N.size} texts; they are of the same texts, one at least")
        return Prediction(int(predicted_N.sum()), int(actual_N.sum()), int((predicted_N & actual_N).sum()), predicted_N.size)

    @property
    def share(self) -> float:
        """Of all texts, that are known in the end."""
        return self.actual / self.texts

    @property
    def precision(self) -> tuple[float, float, float] | None:
        """Of what is predicted, the share that comes true, with its 95 % interval; None where nothing is."""
        return share_interval(self.hits, self.predicted) if self.predicted else None

    @property
    def recall(self) -> tuple[float, float, float] | None:
        """Of what comes true, the share that was predicted, with its 95 % interval; None where nothing does."""
        return share_interval(self.hits, self.actual) if self.actual else None

    @property
    def is_better_than_blind(self) -> bool:
        """Whether the interval of its precision lies above the share that a blind guess hits."""
        return self.precision is not None and self.precision[1] > self.share


@dataclass(frozen=True, slots=True)
class Guess:
    """A predictor with its prediction. compute: of what the large model took in all."""

    name: str
    parameters: int
    updates: int
    compute: float
    is_early: bool
    prediction: Prediction


@component
class Emergent:
    """Of run folders with models of several sizes that saw the same rows, or with models kept on the way (pretrain keep_every).

    k, l, rows: as in the study memorization. published: for model directories, the rows that they were trained on; checkpoints of the large
    model are those of its size whose names end with an earlier step.
    """

    name: ClassVar = "emergent"
    claim: ClassVar = (
        "a small model predicts with precision but little recall what a large one memorises; a checkpoint does better (Biderman 2023)"
    )
    question: ClassVar = "Does a small model, or an early checkpoint, say which texts the large model will know by heart?"
    rule: ClassVar = (
        "the claim is seen if the interval of the precision of some smaller model lies above the share of texts that the large one knows,"
        " no smaller model recalls half of them, and a checkpoint of the large model from before its end recalls more than each smaller"
        f" model; where the large one knows fewer than {FEWEST} texts, or there is no smaller model or no checkpoint, one cannot tell"
    )
    expected: ClassVar = (
        "small models know few canaries, those that the large one knows too; checkpoints of the second half know most of them"
    )
    k: int = Field(default=8, ge=1)
    l: int = Field(default=8, ge=1)  # noqa: E741  (the letter of the definition)
    rows: int = Field(default=1000, gt=0)
    published: str = ""

    def trials(self, preset: Preset) -> Sequence[Trial]:
        return [suite(preset)]

    def find(self, folders: Sequence[Path]) -> Finding:
        *others, large = sorted(trainings_of(folders, self.published), key=lambda training: (training.parameters, training.num_rows))
        for training in others:
            if training.fingerprint != large.fingerprint:
                raise DataError(
                    f"{training.name}: has another tokenizer than {large.name}, so they did not see the same texts; leave it out"
                )
        texts = [canary.tokens for canary in canaries_of(large, self.k + self.l)]
        texts += [large.order.row(int(place)) for place in large.places(self.rows)]
        actual_N = self._known(large, None, texts)
        guesses = [
            self._guess(training, max(training.models), large, texts, actual_N, is_early=_is_checkpoint(training, large))
            for training in others
            if training.parameters < large.parameters or _is_checkpoint(training, large)
        ]
        guesses += [self._guess(large, step, large, texts, actual_N, is_early=True) for step in sorted(large.models)[:-1] if step]
        holds = decide(guesses, int(actual_N.sum()))
        better, blind = (_planted(shuffled=shuffled).is_better_than_blind for shuffled in (False, True))
        return Finding(
            _verdict(guesses, int(actual_N.sum()), holds), holds, HEADER,
            [_row(guess) for guess in guesses] or [_nothing(large, actual_N)],
            [
                Control("a guess that is mostly right", is_positive=True, is_detected=better),
                Control("the same guesses of texts drawn by lot", is_positive=False, is_detected=blind),
            ],
            _figures(guesses),
        )  # fmt: skip

    def _known(self, training: Training, step: int | None, texts: Sequence[np.ndarray]) -> np.ndarray:
        return leading_matches(training.speaker(step).model, texts, prompt=self.k, length=self.l) == self.l

    def _guess(
        self, training: Training, step: int, large: Training, texts: Sequence[np.ndarray], actual_N: np.ndarray, *, is_early: bool
    ) -> Guess:
        share = step / max(training.models) if step else 1.0  # of a model directory that does not say how far it is
        compute = share * training.parameters * training.num_rows / (large.parameters * large.num_rows)
        prediction = Prediction.of(self._known(training, step, texts), actual_N)
        return Guess(training.name, training.parameters, step, compute, is_early, prediction)


def _is_checkpoint(training: Training, large: Training) -> bool:
    """Whether a model directory is the large model early in its training; a run of its size is another model."""
    return training.trace is None and training.parameters == large.parameters and training.num_rows < large.num_rows


def decide(guesses: Sequence[Guess], known: int) -> bool | None:
    """The rule, from predictions of smaller models and of early checkpoints, and how many texts the large model knows."""
    small, early = ([guess.prediction for guess in guesses if guess.is_early == wanted] for wanted in (False, True))
    if known < FEWEST or not small or not early:
        return None
    recalls = [guess.hits / guess.actual for guess in small]
    is_precise = any(guess.is_better_than_blind for guess in small)
    return is_precise and max(recalls) < 0.5 and max(guess.hits / guess.actual for guess in early) > max(recalls)


def _planted(*, shuffled: bool) -> Prediction:
    """Of 1,000 texts of which 200 are known, 50 guesses, 45 of them right; shuffled: put on texts drawn by lot."""
    actual_N, predicted_N = np.arange(1000) < 200, np.isin(np.arange(1000), [*range(45), *range(995, 1000)])
    return Prediction.of(generator(1, "planted guesses").permutation(predicted_N) if shuffled else predicted_N, actual_N)


def _row(guess: Guess) -> list[Cell]:
    made = guess.prediction
    return [
        guess.name, guess.parameters, guess.updates, guess.compute, made.texts, made.actual, made.predicted, made.hits,
        *(made.precision or (None, None, None)), *(made.recall or (None, None, None)),
    ]  # fmt: skip


def _nothing(large: Training, actual_N: np.ndarray) -> list[Cell]:
    return [large.name, large.parameters, max(large.models), 1.0, len(actual_N), int(actual_N.sum()), *[None] * 8]


def _verdict(guesses: Sequence[Guess], known: int, holds: bool | None) -> str:
    if holds is None:
        sizes = sum(not guess.is_early for guess in guesses)
        return (
            f"The large model knows {known:,} texts by heart, with {sizes} smaller models and {len(guesses) - sizes} earlier checkpoints"
            " to predict them: one cannot tell."
        )
    best = {
        is_early: max((guess for guess in guesses if guess.is_early == is_early), key=lambda guess: guess.prediction.hits)
        for is_early in (False, True)
    }
    told = [
        f"{'its checkpoint after ' + format(guess.updates, ',') + ' updates' if is_early else guess.name} recalls"
        f" {guess.prediction.hits / known:.0%} with a precision of {guess.prediction.hits / max(1, guess.prediction.predicted):.0%}"
        for is_early, guess in best.items()
    ]
    return f"Of {known:,} texts that the large model knows by heart {'; '.join(told)}."


def _figures(guesses: Sequence[Guess]) -> list[Figure]:
    lines = []
    for name, is_early in (("smaller models", False), ("its checkpoints", True)):
        shown = sorted(
            ((guess.compute, guess.prediction) for guess in guesses if guess.is_early == is_early and guess.prediction.actual),
            key=lambda pair: pair[0],
        )
        spans = [(compute, *made.recall[1:]) for compute, made in shown if made.recall]
        lines.append(Line(name, [(compute, made.hits / made.actual) for compute, made in shown], whiskers=spans))
    drawn = line_chart("share of its texts that is predicted", lines, x_name="compute, of the large one's")
    return [Figure("Recall", "by compute, with 95 % intervals", drawn)] if guesses else []
