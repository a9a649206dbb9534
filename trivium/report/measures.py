"""The held-out table: a row a measure, a column a model, each value with its 95 % interval, and the main ones drawn."""

from collections.abc import Sequence

from trivium.report import units
from trivium.report.html import Html, element, figure, join, muted, table, words
from trivium.report.reading import Record, Result
from trivium.report.svg import Interval, intervals

_LOWER = ("loss", "bits_per_byte", "perplexity", "repetition", "error")
_HIGHER = (
    "accuracy",
    "true_score",
    "true_reward",
    "win_rate",
    "stop_rate",
    "agreement",
    "score",
    " acc",
    "acc_norm",
    "acc_bytes",
    "pass@1",
)
_MOST_PLOTS = 6


def measures(record: Record) -> Html:
    """The table and the plots of its main measures: the first six that have an interval and more than one model."""
    if not record.results:
        return muted("Left out: this run folder has no results.json, or it is empty.")
    stages = column_order([result.stage for result in record.results], record.stages)
    by_measure: dict[str, dict[str, Result]] = {}
    for result in record.results:
        by_measure.setdefault(result.measure, {})[result.stage] = result
    rows = [[_name(name), *(_cell(row.get(stage)) for stage in stages), _counts(row)] for name, row in by_measure.items()]
    main = [(name, row) for name, row in by_measure.items() if len(row) > 1 and any(result.low is not None for result in row.values())]
    plots = join(_plot(name, [row[stage] for stage in stages if stage in row]) for name, row in main[:_MOST_PLOTS])
    caption = "Measured on text and prompts that no stage was trained on; below each value its 95 % interval."
    return join([table(["measure", *map(words, stages), "n"], rows, caption=caption), element("div", plots, class_="charts")])


def column_order(present: Sequence[str], stages: Sequence[str]) -> list[str]:
    """The models that are present, in the order in which the run made them; strangers behind, as they come."""
    return [stage for stage in dict.fromkeys([*stages, *present]) if stage in set(present)]


def direction(measure: str) -> str:
    """Whether lower or higher is better, where the name of the measure settles it."""
    if measure.endswith(_LOWER):
        return "lower is better"
    return "higher is better" if measure.endswith(_HIGHER) else ""


def _name(measure: str) -> Html:
    return join([words(measure), element("span", f" {direction(measure)}", class_="small")])


def _cell(result: Result | None) -> Html:
    if result is None:
        return join([units.NONE])
    within = f"{units.number(result.low)} to {units.number(result.high)}" if result.low is not None and result.high is not None else ""
    return join([units.number(result.value), element("span", within, class_="small")])


def _counts(row: dict[str, Result]) -> str:
    counts = sorted({result.n for result in row.values() if result.n is not None})
    return " to ".join(units.count(count) for count in dict.fromkeys([*counts[:1], *counts[-1:]])) or units.NONE


def _plot(measure: str, row: Sequence[Result]) -> Html:
    dots = [Interval(words(result.stage), result.value, result.low, result.high) for result in row if result.value is not None]
    return figure(words(measure), direction(measure), intervals(f"{words(measure)} with 95 % intervals", dots))
