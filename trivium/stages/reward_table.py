"""What a reward model is worth on held-out judgements: the rows of its table, and the bins of its calibration."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trivium.core.types import Preference
from trivium.report.correlation import correlation
from trivium.report.intervals import clustered_share_interval
from trivium.score.calibration import Bin, calibrate, calibration_error, per_cluster
from trivium.score.ranking.ties import sigmoid
from trivium.stages.base import result_row
from trivium.text.records.ranks import is_number

MOST_MARGINS = 5  # more different margins than these are put together in three equal shares
Row = dict[str, Any]


@dataclass(slots=True)
class PairTable:
    """Pairs of answers to held-out prompts, gathered prompt by prompt."""

    stage: str
    _right: dict[str, list[float]] = field(default_factory=dict)  # measure -> for each of its pairs 1, 1/2 or 0
    _prompts: dict[str, list[int]] = field(default_factory=dict)  # and the prompt of each
    _gaps: list[float] = field(default_factory=list)
    _margins: list[float | None] = field(default_factory=list)
    _answers: list[tuple[float, float]] = field(default_factory=list)  # (tokens, score) of each
    _num_prompts: int = 0

    def add(
        self, item: Preference, order: Sequence[int], *, learned: Sequence[float], lengths: Sequence[float], gain: float,
        true: Sequence[float] | None = None,
    ) -> None:  # fmt: skip
        """The answers to one prompt in the order of `order`: their scores, tokens and, where it is known, true scores.

        gain: what the scores were multiplied by after training; Bradley-Terry holds for them as they were.
        """
        places = [item.ranks[i] for i in order]
        scores = _scores(item, order)
        for i, j in _pairs(places):
            self._count("pair_accuracy", learned[i] - learned[j])
            self._count("pair_accuracy_longer_wins", lengths[i] - lengths[j])
            self._count("pair_accuracy_shorter_wins", lengths[j] - lengths[i])  # what length alone knows is the better of the two
            self._gaps.append((learned[i] - learned[j]) / gain)
            self._margins.append(item.meta.get("margin") if scores is None else abs(scores[i] - scores[j]))
            if true is not None:
                self._count("pair_accuracy_of_true_rule", true[i] - true[j])  # the ceiling that the annotators' errors leave
        for i, j in _pairs([-score for score in true or ()]):
            self._count("pair_accuracy_on_truth", learned[i] - learned[j])
        self._answers += zip(lengths, learned, strict=True)
        self._num_prompts += 1

    def rows(self) -> list[Row]:
        """Every accuracy with its interval by prompts, those by the margin of the judgement, how scores go with length, and calibration."""
        found = [self._row(name, right, self._prompts[name]) for name, right in self._right.items()]
        bins = self.bins()
        return [*found, *self._by_margin(), *([self._with_length(), _error_row(self.stage, bins)] if bins else [])]

    def _with_length(self) -> Row:
        tokens_N, scores_N = np.array(self._answers).T
        return result_row(self.stage, "score_length_correlation", (correlation(tokens_N, scores_N), None, None), len(tokens_N))

    def bins(self) -> list[Bin]:
        """How often the answer that the model thinks better is: of the pairs by how sure it is, from 1/2 to 1."""
        if not self._gaps:
            return []
        sure = sigmoid(np.abs(self._gaps))
        return calibrate(sure.tolist(), self._right["pair_accuracy"], self._prompts["pair_accuracy"], lowest=0.5)

    def _count(self, measure: str, difference: float) -> None:
        self._right.setdefault(measure, []).append(0.5 if difference == 0 else float(difference > 0))
        self._prompts.setdefault(measure, []).append(self._num_prompts)

    def _by_margin(self) -> list[Row]:
        if not self._margins or not all(is_number(margin) for margin in self._margins):
            return []
        margins = np.array(self._margins, np.float64)
        different = np.unique(margins)
        if len(different) < 2:
            return []
        parts = [different[index : index + 1] for index in range(len(different))]
        if len(different) > MOST_MARGINS:
            edges = np.quantile(margins, [1 / 3, 2 / 3], method="lower")
            parts = [part for part in np.split(different, np.searchsorted(different, edges, side="right")) if len(part)]
        right, prompts = np.array(self._right["pair_accuracy"]), np.array(self._prompts["pair_accuracy"])
        named = {f"{part[0]:g}" if len(part) == 1 else f"{part[0]:g}_to_{part[-1]:g}": np.isin(margins, part) for part in parts}
        return [self._row(f"pair_accuracy_at_margin_{name}", right[chosen], prompts[chosen]) for name, chosen in named.items()]

    def _row(self, measure: str, right: Any, prompts: Any) -> Row:
        return share_row(self.stage, measure, right, prompts)


def step_table(stage: str, log_odds: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> tuple[list[Row], list[Bin]]:
    """Rows and bins of a process reward model. log_odds, labels: of each step that was judged of each held-out solution."""
    odds, label = np.concatenate(log_odds).astype(np.float64), np.concatenate(labels).astype(np.float64)
    solutions = np.repeat(np.arange(len(labels)), [len(column) for column in labels])
    is_right = label > 0.5
    bins = calibrate(sigmoid(odds).tolist(), label.tolist(), solutions.tolist(), lowest=0.0)
    rows = [
        share_row(stage, "step_accuracy", (odds > 0) == is_right, solutions),
        share_row(stage, "step_accuracy_most_frequent_label", is_right == (is_right.mean() >= 0.5), solutions),
    ]
    for name, chosen in {"right": is_right, "wrong": ~is_right}.items():
        if chosen.any():
            rows.append(share_row(stage, f"step_accuracy_on_{name}_steps", ((odds > 0) == is_right)[chosen], solutions[chosen]))
    return [*rows, _error_row(stage, bins)], bins


def share_row(stage: str, measure: str, true: Any, clusters: Any) -> Row:
    """A row of results.json: a share with its interval by clusters."""
    return result_row(stage, measure, clustered_share_interval(*per_cluster(true, clusters)), len(true))


def _error_row(stage: str, bins: Sequence[Bin]) -> Row:
    return result_row(stage, "calibration_error", (calibration_error(bins), None, None), sum(each.n for each in bins))


def _pairs(places: Sequence[float]) -> list[tuple[int, int]]:
    """Every pair that the places order, the better one first."""
    return [(i, j) for i in range(len(places)) for j in range(len(places)) if places[i] < places[j]]


def _scores(item: Preference, order: Sequence[int]) -> list[float] | None:
    """What people said of each answer, if they gave numbers."""
    scores = item.meta.get("scores")
    if not isinstance(scores, list) or len(scores) != len(order) or not all(map(is_number, scores)):
        return None
    return [float(scores[i]) for i in order]
