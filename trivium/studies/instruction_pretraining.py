"""Is pre-training on raw text with synthesized pairs worth more than on raw text alone, at equal tokens?

Cheng et al. 2024, arXiv:2406.14491, table 1 and figure 4: at equal tokens Instruct > Mix > Vanilla, before and after instruction tuning.
Vanilla reads raw text; Mix also what the synthesizer was trained on; Instruct also pairs that it wrote for raw text. Control: the same
pairs, each beside another text than its own. Differences: what is measured is the share of held-out questions that are answered exactly
after the same fine-tuning; an observation is a run (a seed), and the arms of a run are compared in pairs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.core.seeds import generator
from trivium.report.intervals import mean_interval
from trivium.report.reading import Record, Result, number_of, read_record
from trivium.report.svg import Interval, intervals
from trivium.studies.finding import Cell, Control, Figure, Finding
from trivium.studies.study import Preset, Trial

ARMS = ("vanilla", "mix", "instruct", "shuffled")
MEASURE = "exact_score"
MIN_RUNS = 3
ORDER = (("mix", "vanilla"), ("instruct", "mix"))  # as published
POSITIVE, NEGATIVE = ("instruct", "shuffled"), ("shuffled", "mix")  # pairs of the right text; pairs of another
HEADER = ("run", *ARMS, "low", "high", "questions")

Scores = Mapping[str, float]  # arm -> share of the held-out questions
Spread = tuple[float, float | None, float | None]


@component
class InstructionPretraining:
    """Compares the arms of finished runs of the recipe, one a seed."""

    name: ClassVar = "instruction_pretraining"
    claim: ClassVar = "at equal tokens pre-training on synthesized pairs beats raw text: Instruct > Mix > Vanilla (Cheng et al. 2024)"
    question: ClassVar = (
        "At equal tokens, does pre-training on raw text with synthesized pairs make a better reader than on raw text alone?"
    )
    rule: ClassVar = (
        f"at least {MIN_RUNS} runs, in each of which all arms read the same number of tokens; the published order is seen if the 95 %"
        " intervals (Student's t over runs, of differences within a run) of mix - vanilla and of instruct - mix in the share of held-out"
        " questions answered exactly both lie above 0. The gain comes from pairs that belong to their text if the interval of instruct -"
        " shuffled lies above 0"
    )
    expected: ClassVar = "Instruct > Mix > Vanilla; pairs beside other texts about as good as Mix"

    def trials(self, preset: Preset) -> Sequence[Trial]:
        # every preset has the recipe's size, at which arms were seen to differ: where none reads, or all do, nothing can be told
        return [Trial("instruction_pretraining", {"seed": seed}, f"instruction_pretraining-{seed}") for seed in range(1, MIN_RUNS + 1)]

    def find(self, folders: Sequence[Path]) -> Finding:
        records = [read_record(folder) for folder in folders]
        results = [results_of(record) for record in records]
        scores = [{arm: float(result.value or 0.0) for arm, result in each.items()} for each in results]
        found = {pair: difference(scores, *pair) for pair in (*ORDER, POSITIVE, NEGATIVE)}
        means = {arm: mean_interval([each[arm] for each in scores]) for arm in ARMS}
        rows: list[list[Cell]] = [
            [record.name, *(each[arm].value for arm in ARMS), None, None, each["vanilla"].n]
            for record, each in zip(records, results, strict=True)
        ]
        rows.append(["mean of runs", *(means[arm][0] for arm in ARMS), None, None, None])
        for (better, worse), (value, low, high) in found.items():
            rows.append([f"{better} - {worse}", *(value if arm == better else None for arm in ARMS), low, high, None])
        verdict, holds = decide(found, len(scores))
        return Finding(
            verdict, holds, HEADER, rows,
            [
                Control("three runs in which each arm answers a tenth more", is_positive=True, is_detected=bool(planted(0.1))),
                Control("three runs whose arms differ by chance", is_positive=False, is_detected=bool(planted(0.0))),
                Control("pairs beside other texts (shuffled - mix)", is_positive=False, is_detected=_is_above(found[NEGATIVE])),
            ],
            [
                _figure("answered exactly, mean of runs", means),
                _figure("differences within a run", {" - ".join(pair): spread for pair, spread in found.items()}),
            ],
        )  # fmt: skip


def planted(gain: float) -> bool | None:
    """What the rule says of three runs in which Mix gains so much over Vanilla, and Instruct over Mix; the noise has deviation 0.01."""
    noise = generator(1, "planted arms").normal(scale=0.01, size=(MIN_RUNS, len(ARMS)))
    means = {"vanilla": 0.2, "mix": 0.2 + gain, "instruct": 0.2 + 2 * gain, "shuffled": 0.2 + gain}
    scores = [{arm: means[arm] + each for arm, each in zip(ARMS, row, strict=True)} for row in noise.tolist()]
    return decide({pair: difference(scores, *pair) for pair in (*ORDER, POSITIVE, NEGATIVE)}, MIN_RUNS)[1]


def results_of(record: Record) -> dict[str, Result]:
    """The measure of every arm of a run."""
    found = {row.stage: row for row in record.results if row.measure == MEASURE and row.stage in ARMS and row.value is not None}
    if missing := [arm for arm in ARMS if arm not in found]:
        raise DataError(
            f"{record.folder}: has no {MEASURE} of {', '.join(missing)}; this study reads finished runs of the recipe"
            " instruction_pretraining: trivium run instruction_pretraining seed=2 --out runs/instruction_pretraining-2"
        )
    tokens = {arm: number_of(record.facts.get(arm, {}).get("tokens")) for arm in ARMS}
    if len(set(tokens.values())) > 1:
        told = ", ".join(f"{arm} {count or 0:,.0f}" for arm, count in tokens.items())
        raise DataError(
            f"{record.folder}: the arms read different numbers of tokens ({told}); the study compares them at equal tokens only"
        )
    return found


def difference(scores: Sequence[Scores], better: str, worse: str) -> Spread:
    """The mean over runs of how much more one arm answers than another, with its 95 % interval."""
    return mean_interval([each[better] - each[worse] for each in scores])


def decide(found: Mapping[tuple[str, str], Spread], runs: int) -> tuple[str, bool | None]:
    """The verdict by the rule, and whether the published order is seen; None of too few runs."""
    told = "; ".join(f"{better} - {worse} {_told(found[better, worse])}" for better, worse in found)
    if runs < MIN_RUNS:
        return f"Undecided: {runs} of at least {MIN_RUNS} runs. So far: {told}.", None
    holds = all(_is_above(found[pair]) for pair in ORDER)
    parts = [f"The published order Instruct > Mix > Vanilla is {'seen' if holds else 'not seen'} at this scale ({told})"]
    if _is_above(found[POSITIVE]):
        parts.append("pairs that belong to their text are worth more than the same pairs beside others")
    else:
        parts.append("that pairs belong to their text makes no difference that these runs can show")
    parts.append(f"shuffled pairs are {'themselves worth something' if _is_above(found[NEGATIVE]) else 'worth nothing themselves'}")
    return "; ".join(parts) + ".", holds


def _is_above(spread: Spread) -> bool:
    return spread[1] is not None and spread[1] > 0


def _told(spread: Spread) -> str:
    value, low, high = spread
    return f"{value:+.3f}" if low is None or high is None else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def _figure(title: str, spreads: Mapping[str, Spread]) -> Figure:
    return Figure(title, "with 95 % intervals", intervals(title, [Interval(name, *spread) for name, spread in spreads.items()]))
