"""Is pre-training on raw text with synthesized pairs worth more than on raw text alone, at equal tokens?

Cheng et al. 2024, arXiv:2406.14491, table 1 and figure 4: at equal tokens Instruct > Mix > Vanilla, before and after instruction tuning.
Vanilla reads raw text; Mix also what the synthesizer was trained on; Instruct also pairs that it wrote for raw text. Control: the same
pairs, each beside another text than its own. Differences: what is measured is the share of held-out questions that are answered exactly
after the same fine-tuning; an observation is a run (a seed), and the arms of a run are compared in pairs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from trivium.core.errors import DataError
from trivium.report.html import Html, element
from trivium.report.intervals import mean_interval
from trivium.report.reading import Record, Result, number_of, read_record
from trivium.report.svg import Interval, intervals
from trivium.studies.finding import Cell, Finding

RECIPE = "instruction_pretraining"
QUESTION = "At equal tokens, does pre-training on raw text with synthesized pairs make a better reader than on raw text alone?"
ARMS = ("vanilla", "mix", "instruct", "shuffled")
MEASURE = "exact_score"
MIN_RUNS = 3
ORDER = (("mix", "vanilla"), ("instruct", "mix"))  # as published
POSITIVE, NEGATIVE = ("instruct", "shuffled"), ("shuffled", "mix")  # pairs of the right text; pairs of another
RULE = (
    f"at least {MIN_RUNS} runs, in each of which all arms read the same number of tokens; the published order is seen if the 95 % intervals"
    " (Student's t over runs, of differences within a run) of mix - vanilla and of instruct - mix in the share of held-out questions"
    " answered exactly both lie above 0. The gain comes from pairs that belong to their text if the interval of instruct - shuffled lies"
    " above 0; shuffled pairs are worth nothing themselves if that of shuffled - mix does not"
)
HEADER = ("run", *ARMS, "low", "high", "questions")

Scores = Mapping[str, float]  # arm -> share of the held-out questions
Spread = tuple[float, float | None, float | None]


def study(folders: Sequence[Path]) -> Finding:
    """Compare the arms of these runs. Raises DataError for a run that lacks one, or whose arms read different numbers of tokens."""
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
    shown = [
        _figure("answered exactly, mean of runs", means),
        _figure("differences within a run", {" - ".join(p): s for p, s in found.items()}),
    ]
    return Finding(RECIPE, QUESTION, RULE, verdict, holds, HEADER, rows, shown)


def results_of(record: Record) -> dict[str, Result]:
    """The measure of every arm of a run."""
    found = {row.stage: row for row in record.results if row.measure == MEASURE and row.stage in ARMS and row.value is not None}
    if missing := [arm for arm in ARMS if arm not in found]:
        raise DataError(
            f"{record.folder}: has no {MEASURE} of {', '.join(missing)}; this study reads finished runs of the recipe {RECIPE}:"
            f" trivium run {RECIPE} seed=2 --out runs/{RECIPE}-2"
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


def decide(found: Mapping[tuple[str, str], Spread], runs: int) -> tuple[str, bool]:
    """The verdict by the rule, and whether the published order is seen."""
    told = "; ".join(f"{better} - {worse} {_told(found[better, worse])}" for better, worse in found)
    if runs < MIN_RUNS:
        return f"Undecided: {runs} of at least {MIN_RUNS} runs. So far: {told}.", False
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


def _figure(title: str, spreads: Mapping[str, Spread]) -> Html:
    chart = intervals(title, [Interval(name, *spread) for name, spread in spreads.items()])
    return element("figure", element("figcaption", element("b", title)), chart)
