"""How much of what it was trained on does a model say by heart, and does that grow with its size and with how often a text was seen?"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.core.seeds import generator
from trivium.report.correlation import spearman
from trivium.report.intervals import share_interval
from trivium.report.svg import Line, line_chart
from trivium.studies.canaries import Canary, canaries_of, never_planted
from trivium.studies.evidence import Training, trainings_of
from trivium.studies.extraction import LookupTable, decoded_scores, leading_matches
from trivium.studies.finding import Cell, Control, Figure, Finding
from trivium.studies.study import Preset, Trial
from trivium.studies.suite import suite

HEADER = (
    "training", "parameters", "what", "times seen", "texts", "extracted", "share", "low", "high", "mean score", "tokens before a miss",
)  # fmt: skip
SCORED = 256  # texts that are decoded for the mean score


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was extracted from one model. matches: leading tokens of each text that decoding says."""

    training: Training
    canaries: list[Canary]
    canary_matches: np.ndarray
    row_matches: np.ndarray
    row_score: float
    never_matches: np.ndarray


@component
class Memorization:
    """(k, l)-extraction of rows of training, and of canaries if there are (text/planted.py). rows: of the order, evenly spread.

    k, l: tokens of the prompt and of what must follow; Pythia's are 32 and 32. published: for model directories, the rows that they
    were trained on, FOLDER/document (data/pythia.py).
    """

    name: ClassVar = "memorization"
    claim: ClassVar = "larger models, and texts that are seen more often, are known by heart more (Biderman 2023; Carlini 2022)"
    question: ClassVar = (
        "Which texts of its training does a model say by heart, and do more of them come from larger models and from copies?"
    )
    rule: ClassVar = (
        "seen if, of the largest model, the rank correlation of how often a canary was seen and whether it is extracted is above 0 with"
        " p < 0.05, and no smaller model extracts more canaries than the largest; of trainings without canaries, if the largest extracts"
        " the most rows and the intervals of largest and smallest do not touch; where nothing at all is extracted one cannot tell"
    )
    expected: ClassVar = "canaries that were seen dozens of times are extracted, by the larger sizes first; hardly any ordinary row is"
    k: int = Field(default=16, ge=1)
    l: int = Field(default=8, ge=1)  # noqa: E741  (the letter of the definition)
    rows: int = Field(default=2000, gt=0)
    published: str = ""

    def trials(self, preset: Preset) -> Sequence[Trial]:
        return [suite(preset)]

    def find(self, folders: Sequence[Path]) -> Finding:
        found = sorted((self._extracted(training) for training in trainings_of(folders, self.published)), key=_size)
        largest = found[-1]
        never = np.concatenate([each.never_matches for each in found])
        texts = [canary.tokens for canary in largest.canaries] or [largest.training.order.row(int(place)) for place in range(8)]
        table = LookupTable(texts, prompt=self.k, length=self.l)
        known = leading_matches(table, texts, prompt=self.k, length=self.l)
        controls = [
            Control("texts of a look-up table that holds them", is_positive=True, is_detected=bool((known == self.l).all())),
            Control("canaries that were never planted", is_positive=False, is_detected=bool((never == self.l).any())),
        ]
        verdict, holds = self._judged(found)
        rows = [row for each in found for row in self._rows(each)]
        return Finding(verdict, holds, HEADER, rows, controls, self._figures(found))

    def _extracted(self, training: Training) -> Extracted:
        model, size = training.speaker().model, {"prompt": self.k, "length": self.l}
        canaries = canaries_of(training, self.k + self.l)
        rows = [training.order.row(int(place)) for place in training.places(self.rows)]
        scores = decoded_scores(model, rows[:: max(1, len(rows) // SCORED)], **size, kernels=training.machine.sampler)
        never = never_planted(canaries, self.k) if canaries else _shuffled(rows)
        known = leading_matches(model, [canary.tokens for canary in canaries], **size)
        matches, new = (leading_matches(model, texts, **size) for texts in (rows, never))
        return Extracted(training, canaries, known, matches, float(scores.mean()), new)

    def _judged(self, found: Sequence[Extracted]) -> tuple[str, bool | None]:
        largest, same = found[-1], [each for each in found if _size(each) == _size(found[-1])]  # the same once more: other seeds
        counts = [self._num(each.canary_matches if largest.canaries else each.row_matches) for each in found]
        has_most = sum(counts[-len(same) :]) / len(same) >= max(counts[: -len(same)], default=0)
        what = "canaries" if largest.canaries else "rows"
        told = ", ".join(f"{count:,} from {_millions(each.training)}" for count, each in zip(counts, found, strict=True))
        if not max(counts):
            return f"Nothing is extracted from any model: one cannot tell ({told} of {len(largest.row_matches):,} rows).", None
        if largest.canaries:
            rho, p = self._dose(same)
            grows = has_most and rho > 0 and p < 0.05
            return f"{what.capitalize()} extracted: {told}; of the largest, with the times seen rho = {rho:.2f} (p = {p:.4f}).", grows
        if len(found) == len(same):
            return f"{what.capitalize()} extracted: {told}; with one size, and no canaries, one cannot tell whether it grows.", None
        ends = [share_interval(counts[i], len(found[i].row_matches)) for i in (0, -1)]
        return f"{what.capitalize()} extracted: {told}.", has_most and ends[1][1] > ends[0][2]

    def _num(self, matches: np.ndarray) -> int:
        return int((matches == self.l).sum())

    def _dose(self, models: Sequence[Extracted]) -> tuple[float, float]:
        seen = [len(canary.places) for each in models for canary in each.canaries]
        known = [float(matches == self.l) for each in models for matches in each.canary_matches]
        return spearman(seen, known)

    def _by_dose(self, each: Extracted) -> dict[int, list[int]]:
        """Doublings of the times seen (0, 1, 2, 4 ...) -> matches of the canaries."""
        groups: dict[int, list[int]] = defaultdict(list)
        for canary, matches in zip(each.canaries, each.canary_matches.tolist(), strict=True):
            groups[1 << (len(canary.places).bit_length() - 1) if len(canary.places) else 0].append(matches)
        return dict(sorted(groups.items()))

    def _rows(self, each: Extracted) -> list[list[Cell]]:
        named = [("rows", "", each.row_matches, each.row_score)]
        named += [("canaries", f"{dose} or more", np.array(matches), None) for dose, matches in self._by_dose(each).items()]
        return [
            [each.training.name, each.training.parameters, what, dose, len(matches), self._num(matches),
             *share_interval(self._num(matches), len(matches)), score, float(matches.mean())]
            for what, dose, matches, score in named
        ]  # fmt: skip

    def _figures(self, found: Sequence[Extracted]) -> list[Figure]:
        with_canaries = [each for each in found if each.canaries]
        if not with_canaries:
            return []
        extracted, before = [], []
        for each in with_canaries:
            groups = self._by_dose(each)
            shares = {dose: share_interval(self._num(np.array(matches)), len(matches)) for dose, matches in groups.items()}
            whiskers = [(np.log2(dose + 1), low, high) for dose, (_, low, high) in shares.items()]
            name = _millions(each.training)
            extracted.append(Line(name, [(np.log2(dose + 1), share[0]) for dose, share in shares.items()], whiskers=whiskers))
            before.append(Line(name, [(np.log2(dose + 1), float(np.mean(matches))) for dose, matches in groups.items()]))
        words = f"({self.k}, {self.l})-extraction"
        x_name = "log2 of 1 + times seen"
        return [
            Figure("share of canaries extracted", words, line_chart("share of canaries extracted", extracted, x_name=x_name)),
            Figure("tokens before the first miss", words, line_chart("tokens before the first miss", before, x_name=x_name)),
        ]


def _size(each: Extracted) -> int:
    return each.training.parameters


def _millions(training: Training) -> str:
    return f"{training.parameters / 1e6:.2g}M"


def _shuffled(rows: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Rows whose ids stand in another order: texts that nothing was trained on."""
    draw = generator(1, "rows in another order")
    return [draw.permutation(row) for row in rows[:256]]
