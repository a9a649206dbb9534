"""What sampling and selecting found: the best of k answers against k, the scores of all answers, and how many of them were kept."""

from collections.abc import Mapping
from typing import Any

from trivium.report import units
from trivium.report.html import Html, element, figure, join, muted, words
from trivium.report.reading import SELECTION, Record, list_of, number_of, of_stages, table_of
from trivium.report.svg import Bar, Line, bars, line_chart

_KEPT, _ALL = 0, 5


def selection(record: Record) -> Html:
    """A sentence, a curve and a histogram for every stage that chose among answers."""
    return of_stages(record, SELECTION, _stage)


def _stage(stage: str, found: Mapping[str, Any]) -> Html:
    names = ("prompts", "answers", "records", "prompts_kept", "answers_kept", "cut_off", "empty_or_repeated")
    number = {name: units.count(number_of(found.get(name))) for name in names}
    told = (
        f"{number['answers']} answers to {number['prompts']} prompts; '{found.get('keep')}' kept {number['answers_kept']} of them as"
        f" {number['records']} {found.get('makes')} of {number['prompts_kept']} prompts. {number['cut_off']} were cut off,"
        f" {number['empty_or_repeated']} more were empty or the same text as an earlier one."
    )
    reasons = [
        muted(f"{units.count(number_of(count))} prompts gave none: {reason}.") for reason, count in table_of(found.get("reasons")).items()
    ]
    curve = [table_of(point) for point in list_of(found.get("curve"))]
    if curve:
        mean, low, high = (units.number(number_of(curve[0].get(name))) for name in ("value", "low", "high"))
        told += f" Their mean score is {mean}, 95 % interval {low} to {high}."
    charts = [chart for chart in (_curve(curve, found), _histogram(stage, found)) if chart]
    return join([element("h3", words(stage)), element("p", told), *reasons, *charts])


def _curve(points: list[Mapping[str, Any]], found: Mapping[str, Any]) -> Html | None:
    """Score, and true score if it is known, of the best of k, with the distance that choosing the best has at most."""
    if len(points) < 2:
        return None
    lines = [Line("score", _points(points, "value")), Line("95 % from", _points(points, "low")), Line("to", _points(points, "high"))]
    true = [table_of(point) for point in list_of(found.get("true_curve"))]
    if true:
        lines = [Line("score", _points(points, "value")), Line("true score", _points(true, "value"))]
    last = points[-1]
    ends = f"{units.number(number_of(points[0].get('value')))} → {units.number(number_of(last.get('value')))}"
    title = "score of the best of k answers"
    chart = figure(title, ends, line_chart(title, lines, x_name="k"))
    return join([element("div", chart, class_="charts large"), muted(_distance(last))])


def _distance(last: Mapping[str, Any]) -> str:
    k, kl = units.count(number_of(last.get("k"))), units.number(number_of(last.get("kl")))
    return (
        f"The best of {k} answers is at most log k - (k - 1)/k = {kl} nats away from the model that gave them. Curves are means over all"
        " subsets of k of the answers to each prompt; their intervals are over prompts."
    )


def _points(points: list[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    pairs = [(number_of(point.get("k")), number_of(point.get(name))) for point in points]
    return [(k, value) for k, value in pairs if k is not None and value is not None]


def _histogram(stage: str, found: Mapping[str, Any]) -> Html | None:
    rows = [row for row in (table_of(row) for row in list_of(found.get("histogram"))) if row]
    if not rows:
        return None
    return element("div", bars(f"scores of the answers of {words(stage)}", [bar for row in rows for bar in _pair(row)]), class_="bars")


def _pair(row: Mapping[str, Any]) -> list[Bar]:
    low, high, answers, kept = (number_of(row.get(name)) for name in ("low", "high", "answers", "kept"))
    score = units.number(low) if low == high else f"{units.number(low)} to {units.number(high)}"
    return [
        Bar(f"score {score}", answers or 0.0, f"{units.count(answers)} answers", _ALL),
        Bar("kept", kept or 0.0, units.count(kept), _KEPT),
    ]
