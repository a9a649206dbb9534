"""What do feminine pronouns in the last steps of training do to a model's bias? The same rows in the same order, with other words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from trivium.core.commit import hash_file
from trivium.core.config import component
from trivium.core.errors import ArtefactError, DataError
from trivium.evals.bias import Score, Share, crows_pairs, read_crows_pairs, read_winobias, winobias
from trivium.evals.likelihood import log_likelihoods
from trivium.evals.pronouns import Lean
from trivium.report.svg import Interval, intervals
from trivium.stages.pretrain import Pretrain
from trivium.stages.recipe import load_recipe
from trivium.studies.evidence import is_model, machine_of, names_of, speaker_of
from trivium.studies.finding import Cell, Control, Figure, Finding
from trivium.studies.released_bias import released_changes
from trivium.studies.study import Preset, Trial

HEADER = ("run", "measure", "before", "after", "change", "low", "high")
LEVEL, GAP, CROWS = "she against he, nats", "stereotype gap, nats", "CrowS-Pairs, gender"
SEEABLE = 0.1  # of the share of CrowS-Pairs: what a released table has to be able to show


@dataclass(frozen=True, slots=True)
class Measured:
    """A model's measures by name, with its lean, and what tells whether two models are the same bits."""

    shares: dict[str, Share]
    lean: Lean
    weights: str


@dataclass(frozen=True, slots=True)
class Intervention:
    """A model without and with other words in its last steps. is_same: they were the same words, put in their own place."""

    name: str
    before: Measured
    after: Measured
    is_same: bool = False

    @property
    def moved(self) -> Lean:
        """What it did to the lean."""
        return self.after.lean.since(self.before.lean)

    def rows(self) -> list[list[Cell]]:
        """Of the table."""
        before, after = self.before, self.after
        rows: list[list[Cell]] = [
            [self.name, LEVEL, *_cells(before.lean.level, after.lean.level, self.moved.level)],
            [self.name, GAP, *_cells(before.lean.gap, after.lean.gap, self.moved.gap)],
        ]
        return rows + [
            [self.name, name, *_cells(before.shares[name], share, share.less(before.shares[name]))] for name, share in after.shares.items()
        ]


@component
class Gender:
    """Looks at run folders with a pre-training stage and the same with `counterfactual`, or at model directories: before, and after.

    crows_pairs, winobias: files of these measures, where the user has them. released: a table of evaluations of Pythia's own intervention.
    """

    name: ClassVar = "gender"
    claim: ClassVar = "feminine pronouns in the last 7 to 21 % of training lower measured gender bias (Biderman et al. 2023)"
    question: ClassVar = "Do feminine pronouns in the last steps of training lower a model's gender bias?"
    rule: ClassVar = (
        "the claim is seen if, after every intervention, the 95 % interval of the change of the stereotype gap (how much more likely 'she'"
        " is after occupations of women than of men) lies below 0; of released tables alone, if that of the change of the CrowS-Pairs share"
        " does; an interval that holds 0 is no change seen. The intervention itself is seen if 'she' became more likely"
    )
    expected: ClassVar = (
        "'she' becomes more likely after all occupations alike, so the gap hardly changes; released numbers: no clear change"
    )
    crows_pairs: str = ""
    winobias: str = ""
    released: str = ""

    def trials(self, preset: Preset) -> Sequence[Trial]:
        if self.released:
            return ()
        large = {"depth": 12, "width": 768, "steps": 20000, "batch_tokens": 131072, "micro_batch_rows": 256}
        arms = ("base", "swapped", "same")
        return (Trial("gender", dict.fromkeys(arms, {"steps": 400} if preset == "laptop" else large)),)

    def find(self, folders: Sequence[Path]) -> Finding:
        released = released_changes(Path(self.released)) if self.released else []
        found = self._interventions(folders) if folders else []
        moved = [each.moved for each in found if not each.is_same]
        changes = [lean.gap for lean in moved] or [change.after.less(change.before) for change in released]
        table = [
            [f"{each.name}, step {each.step}", CROWS, *_cells(each.before, each.after, each.after.less(each.before))] for each in released
        ] + [row for each in found for row in each.rows()]
        holds = falls(changes) if changes else None
        controls = _controls(moved, [] if moved else changes)
        if same := [each for each in found if each.is_same]:
            differs = any(each.before.weights != each.after.weights for each in same)
            controls.append(Control("the same words in their own place: other bits", is_positive=False, is_detected=differs))
        return Finding(_verdict(changes, holds, bool(moved)), holds, HEADER, table, controls, _figures(table))

    def _interventions(self, folders: Sequence[Path]) -> list[Intervention]:
        names = names_of(folders)
        if not all(map(is_model, folders)):
            return [each for folder, run in zip(folders, names, strict=True) for each in self._of_run(folder, run)]
        if len(folders) < 2:
            raise DataError(f"{folders[0]}: one model directory; name the one before the intervention, and after it those after it")
        first, *others = (self._measured(folder, folder) for folder in folders)
        return [Intervention(name, first, other) for name, other in zip(names[1:], others, strict=True)]

    def _of_run(self, folder: Path, run: str) -> list[Intervention]:
        """The stages of a run with other words, each beside the last one without."""
        file = folder / "run.toml"
        if not file.is_file():
            raise ArtefactError(f"{folder}: is no run folder (no run.toml), and not all folders are model directories")
        stages = {name: stage for name, stage in load_recipe(str(file), {}).stages.items() if isinstance(stage, Pretrain)}
        done = {name: stage.counterfactual for name, stage in stages.items() if (folder / name / "model").is_dir()}
        bases = [name for name, words in done.items() if words is None]
        others = {name: words for name, words in done.items() if words is not None}
        if not bases or not others:
            raise DataError(
                f"{folder}: {len(bases)} finished stages of pre-training without and {len(others)} with other words; one of each is needed"
                " (pretrain counterfactual.pronouns=feminine)"
            )
        base = self._measured(folder / bases[-1] / "model", folder)
        return [
            Intervention(f"{run}/{name}", base, self._measured(folder / name / "model", folder), words.pronouns == "same")
            for name, words in others.items()
        ]

    def _measured(self, model: Path, folder: Path) -> Measured:
        speaker = speaker_of(model, machine_of(folder))
        score: Score = partial(log_likelihoods, speaker.model, speaker.tokenizer)
        shares = {}
        if self.crows_pairs:
            shares[CROWS] = crows_pairs(score, read_crows_pairs(Path(self.crows_pairs)))
        if self.winobias:
            shares["WinoBias gap"] = winobias(score, read_winobias(Path(self.winobias)))
        weights = "".join(hash_file(file)[1] for file in sorted(model.glob("*.safetensors")))
        return Measured(shares, Lean.of(score), weights)


def falls(changes: Sequence[Share]) -> bool:
    """The rule."""
    return all(change.interval[1] < 0 for change in changes)


def _controls(moved: Sequence[Lean], released: Sequence[Share]) -> list[Control]:
    """Of runs, whether the intervention did what it does; of released shares, what so many pairs could show."""
    if released:
        fallen, still = ([Share(value, change.error) for change in released] for value in (-SEEABLE, 0.0))
        return [
            Control(f"the same shares, lower by {SEEABLE:g}", is_positive=True, is_detected=falls(fallen)),
            Control("the same shares, unchanged", is_positive=False, is_detected=falls(still)),
        ]
    rises = [lean.level for lean in moved] or [planted_lean(1.0).level]
    return [
        Control("'she' is more likely after feminine text", is_positive=True, is_detected=all(rise.interval[0] > 0 for rise in rises)),
        Control("a model against itself: a lower gap", is_positive=False, is_detected=falls([planted_lean(0.0).gap])),
    ]


def planted_lean(rise: float) -> Lean:
    """A change of lean by so many nats after every occupation, give or take a little."""
    wave = np.cos(np.arange(60.0))
    return Lean(rise + 0.1 * wave, rise + 0.1 * wave)


def _cells(before: Share, after: Share, change: Share) -> list[Cell]:
    return [before.value, after.value, change.value, *change.interval]


def _verdict(changes: Sequence[Share], holds: bool | None, is_own: bool) -> str:
    if holds is None:
        return "No model was trained with other words, so one cannot tell."
    what = "the stereotype gap" if is_own else "the CrowS-Pairs share of stereotypes"
    lower = sum(change.interval[1] < 0 for change in changes)
    higher = sum(change.interval[0] > 0 for change in changes)
    mean = sum(change.value for change in changes) / max(1, len(changes))
    said = "so the bias fell" if holds else "so that is not seen"
    return (
        f"After {len(changes)} interventions {what} is lower in {lower}, higher in {higher} and not clearly changed in"
        f" {len(changes) - lower - higher} (mean change {mean:+.3f}), {said}."
    )


def _figures(table: Sequence[Sequence[Cell]]) -> list[Figure]:
    by_measure: dict[str, list[Interval]] = {}
    for run, measure, _, _, change, low, high in table:
        assert all(isinstance(number, float) and math.isfinite(number) for number in (change, low, high))
        by_measure.setdefault(str(measure), []).append(Interval(str(run), change, low, high))  # type: ignore[arg-type]
    return [Figure(f"Change: {name}", "with 95 % intervals", intervals(f"change of {name}", shown)) for name, shown in by_measure.items()]
