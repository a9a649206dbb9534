"""Does deduplication change what a model is worth? The same size, seed and number of tokens, on a corpus with copies and one without."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.report.intervals import mean_interval, share_interval
from trivium.report.svg import Interval, intervals
from trivium.studies.evidence import Training, trainings_of
from trivium.studies.extraction import leading_matches
from trivium.studies.finding import Cell, Control, Figure, Finding
from trivium.studies.held_out import HeldOut, heldout_shard, measured
from trivium.studies.released import Mean, read_evaluations, task_means
from trivium.studies.statistics import Equivalence, equivalence, sign_test
from trivium.studies.study import Preset, Trial, refuse_folders

HEADER = (
    "pair", "points with copies", "points without", "difference", "low", "high", "bits per byte with copies", "bits per byte without",
    "difference of bits", "bits low", "bits high", "rows by heart with copies, %", "by heart with: low", "by heart with: high",
    "rows by heart without, %", "by heart without: low", "by heart without: high", "seconds with copies", "seconds without",
)  # fmt: skip
WITH, WITHOUT = "raw_", "dedup_"  # what the stages of a pair are called
HURT, SAME = "one_", "again_"  # of the controls: half of the text one document; the same as raw once more

Span = tuple[float, float | None, float | None]  # a value and the ends of its 95 % interval, None where there is none


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models that differ in their corpus. points: of 100, with copies and without; low, high: 95 % of the difference over texts.

    bits: per byte; more_bits: their difference; copied: of 100 rows of training that are extracted; both with their 95 % intervals.
    seconds: of training. None where they are not known.
    """

    name: str
    points: tuple[float, float]
    low: float | None
    high: float | None
    bits: tuple[float, float] | None = None
    more_bits: Span | None = None
    copied: tuple[Span, Span] | None = None
    seconds: tuple[float | None, float | None] = (None, None)

    @property
    def difference(self) -> float:
        """Without copies - with copies, in points."""
        return self.points[1] - self.points[0]


@component
class Dedup:
    """Folders: a run with stages raw_NAME and dedup_NAME, or several runs or model directories, two by two: with copies, without.

    What is compared is the share of held-out tokens that are predicted, in points. heldout: the held-out shard for model directories.
    margin: points within which two models count as equal. released: instead of runs, the table of Pythia's evaluations (evals_v1.csv),
    of which the mean of eight tasks is compared at its last step. k, l: as in the study memorization, for rows said by heart.
    """

    name: ClassVar = "dedup"
    claim: ClassVar = "deduplication neither helps nor hurts (Biderman et al. 2023, section 3; Pythia's sixteen models)"
    question: ClassVar = "Is a model of the same size and number of tokens better or worse for being trained on text without copies?"
    rule: ClassVar = (
        "no clear effect (the claim is seen) if the mean of the paired differences lies within the margin of +-{margin:g} points by two"
        " one-sided t tests at 5 % over the pairs; an effect (not seen) if its 95 % interval leaves 0 out and the equivalence is not shown;"
        " neither: one cannot tell"
    )
    expected: ClassVar = (
        "a difference of a few tenths of a point, within the margin; fewer rows of training are said by heart without copies"
    )
    margin: float = Field(default=1.0, gt=0)
    heldout: str = ""
    released: str = ""
    k: int = Field(default=16, ge=1)
    l: int = Field(default=8, ge=1)  # noqa: E741  (the letter of the definition)

    def trials(self, preset: Preset) -> Sequence[Trial]:
        if self.released:
            return []
        if preset == "laptop":
            return [Trial("dedup")]
        large = {"preset": "pythia-70m", "batch_tokens": 129 * 256, "micro_batch_rows": 256, "steps": 3000, "optimizer": {"lr": 1e-3}}
        stages = [f"{arm}{size}" for arm in (WITH, WITHOUT) for size in ("156k", "412k", "841k")]
        return [Trial("dedup", {"tokenize": {"vocab_size": 16384}, **dict.fromkeys([*stages, f"{HURT}156k", f"{SAME}156k"], large)})]

    def find(self, folders: Sequence[Path]) -> Finding:
        if self.released:
            refuse_folders(folders, f"released={self.released}")
            return self._published()
        trainings = trainings_of(folders)
        pairs = [self._pair(*two) for two in _two_by_two(trainings)]
        controls = self._trained_controls(trainings) or _planted_controls(pairs, self.margin)
        return self._finding(pairs, controls)

    def _finding(self, pairs: Sequence[Pair], controls: Sequence[Control]) -> Finding:
        differences = [pair.difference for pair in pairs]
        found = equivalence(differences, self.margin)
        holds, told = _judged(found, differences)
        bits = [pair.more_bits[0] for pair in pairs if pair.more_bits]
        more = f" Bits per byte change by {_told(mean_interval(bits))}." if bits else ""
        verdict = f"{told} over {len(pairs)} pairs (sign test p = {sign_test(differences):.2f}).{more}"
        rows = [_row(pair) for pair in pairs]
        shown = [Interval(pair.name, pair.difference, pair.low, pair.high) for pair in pairs]
        shown.append(Interval("mean, 90 %", found.mean, found.low, found.high))
        title = "difference in points, without copies - with copies"
        return Finding(verdict, holds, HEADER, rows, controls, [Figure(title, f"margin {self.margin:g}", intervals(title, shown))])

    def _pair(self, raw: Training, deduplicated: Training) -> Pair:
        name, both = f"{raw.name} / {deduplicated.stage or deduplicated.run}", (raw, deduplicated)
        read = [each.num_rows * each.seq_len for each in both if each.has_order]
        if len(set(read)) > 1:
            raise DataError(f"{name}: were trained on {read[0]:,} and {read[1]:,} tokens; the study compares models of as many")
        shard = heldout_shard(raw, self.heldout)
        models = [measured(each.model, each, shard) for each in both]
        low, high = mean_interval((models[1].points_N - models[0].points_N).tolist())[1:]
        more_bits = mean_interval((models[1].bits_N - models[0].bits_N).tolist())
        copied = (self._copied(raw), self._copied(deduplicated)) if raw.has_order and deduplicated.has_order else None
        bits, seconds = (models[0].bits, models[1].bits), (raw.seconds, deduplicated.seconds)
        return Pair(name, (models[0].points, models[1].points), low, high, bits, more_bits, copied, seconds)

    def _copied(self, training: Training) -> Span:
        """Of 100 rows of training those that are extracted."""
        rows = [training.order.row(int(place)) for place in training.places(1000)]
        matches = leading_matches(training.speaker().model, rows, prompt=self.k, length=self.l)
        share, low, high = share_interval(int((matches == self.l).sum()), len(matches))
        return 100 * share, 100 * low, 100 * high

    def _trained_controls(self, trainings: Sequence[Training]) -> list[Control]:
        """Models of the study's own run whose corpus must hurt, or is the same."""
        named = {(training.run, training.stage): training for training in trainings}
        controls = []
        for (run, stage), training in named.items():
            for prefix, against, is_positive in ((HURT, WITHOUT, True), (SAME, WITH, False)):
                base = named.get((run, stage.replace(prefix, against, 1))) if stage.startswith(prefix) else None
                if base is not None:
                    about = "half of the text is one document" if is_positive else "the same corpus once more"
                    shard = heldout_shard(base, self.heldout)
                    first, second = (measured(each.model, each, shard) for each in (base, training))
                    controls.append(control(f"{about} ({training.name})", lost(first, second), self.margin, is_positive=is_positive))
        return controls if {each.is_positive for each in controls} == {True, False} else []

    def _published(self) -> Finding:
        pairs = [
            Pair(size, (100 * raw.mean, 100 * deduplicated.mean), *_interval(raw, deduplicated))
            for size, raw, deduplicated in task_means(read_evaluations(Path(self.released)))
        ]
        if len(pairs) < 2:
            raise DataError(f"{self.released}: has fewer than two sizes with and without deduplication at one step; is it evals_v1.csv?")
        return self._finding(pairs, _planted_controls(pairs, self.margin))


def lost(base: HeldOut, other: HeldOut) -> list[float]:
    """How many points fewer the other model has on each held-out row."""
    return (base.points_N - other.points_N).tolist()


def control(about: str, lost: Sequence[float], margin: float, *, is_positive: bool) -> Control:
    """By the rule itself, of points lost: a positive one is seen if a loss is shown, a negative one passes only if none is shown to be."""
    found = equivalence(lost, margin)
    holds, _ = _judged(found, lost)
    return Control(about, is_positive=is_positive, is_detected=holds is False and found.mean > 0 if is_positive else holds is not True)


def _judged(found: Equivalence, differences: Sequence[float]) -> tuple[bool | None, str]:
    if found.low is None or found.high is None:
        return None, f"One pair, {found.mean:+.2f} points: one cannot tell"
    _, low, high = mean_interval(differences)
    shown = f"{found.mean:+.2f} points, 90 % interval {found.low:+.2f} to {found.high:+.2f}, margin {found.margin:g} (p = {found.p:.3f})"
    if found.holds:
        return True, f"No clear effect: {shown}"
    has_effect = low is not None and high is not None and not low <= 0 <= high
    return (False, f"Deduplication {'helps' if found.mean > 0 else 'hurts'}: {shown}") if has_effect else (None, f"Undecided: {shown}")


def _planted_controls(pairs: Sequence[Pair], margin: float) -> list[Control]:
    """The same pairs, their mean taken away, with four margins added to one side and without: what so many pairs can show.

    Of one pair nothing is judged, and the controls are eight made-up ones.
    """
    differences = [pair.difference for pair in pairs] if len(pairs) > 1 else [margin / 2, -margin / 2] * 4
    centred = (np.array(differences) - np.mean(differences)).tolist()
    moved = [difference + 4 * margin for difference in centred]
    about = "the same pairs" if len(pairs) > 1 else "made-up pairs"
    return [
        control(f"{about} about {4 * margin:g} points", moved, margin, is_positive=True),
        control(f"{about} about 0", centred, margin, is_positive=False),
    ]


def _two_by_two(trainings: Sequence[Training]) -> list[tuple[Training, Training]]:
    """(with copies, without): by the names of stages of one run, else in the order in which they were given."""
    named = {(training.run, training.stage): training for training in trainings}
    pairs = [
        (training, named[run, stage.replace(WITH, WITHOUT, 1)])
        for (run, stage), training in named.items()
        if stage.startswith(WITH) and (run, stage.replace(WITH, WITHOUT, 1)) in named
    ]
    if pairs:
        return pairs
    if len(trainings) < 2 or len(trainings) % 2:
        raise DataError(
            f"{len(trainings)} trainings do not make pairs; name two and two folders, with copies and without, or a run with stages"
            f" {WITH}NAME and {WITHOUT}NAME, or let the study make its own: trivium study dedup"
        )
    return list(zip(trainings[::2], trainings[1::2], strict=True))


def _interval(raw: Mean, deduplicated: Mean) -> tuple[float, float]:
    half = 1.96 * 100 * (raw.error**2 + deduplicated.error**2) ** 0.5
    difference = 100 * (deduplicated.mean - raw.mean)
    return difference - half, difference + half


def _row(pair: Pair) -> list[Cell]:
    bits, more, copied = pair.bits or (None,) * 2, pair.more_bits or (None,) * 3, pair.copied or ((None,) * 3,) * 2
    return [pair.name, *pair.points, pair.difference, pair.low, pair.high, *bits, *more, *copied[0], *copied[1], *pair.seconds]


def _told(span: Span) -> str:
    value, low, high = span
    return f"{value:+.4f}" if low is None or high is None else f"{value:+.4f} [{low:+.4f}, {high:+.4f}]"
