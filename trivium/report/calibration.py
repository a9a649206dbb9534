"""Calibration of reward models and of predictors of preferences: how often they are right, by how sure they are."""

from collections.abc import Mapping, Sequence
from typing import Any

from trivium.report import units
from trivium.report.html import Html, element, figure, join, muted, words
from trivium.report.reading import Record, number_of
from trivium.report.scale import is_drawable
from trivium.report.svg import Line, line_chart


def calibration(record: Record) -> Html:
    """A chart for every stage that left a calibration.json."""
    charts = [_chart(words(stage), bins) for stage, bins in record.calibrations.items() if bins]
    if not charts:
        return muted("Left out: no stage of this run left a calibration.json.")
    explained = (
        "Held-out judgements by the probability that the model gives them: of two answers, or two models on a prompt, the sigmoid of the"
        " difference of their scores, of a step its own. Below the line it is surer than it is right. Whiskers: 95 % intervals by prompts."
    )
    return join([element("p", explained), element("div", *charts, class_="charts large")])


def _chart(stage: str, bins: Sequence[Mapping[str, Any]]) -> Html:
    rows = [_numbers(each) for each in bins]
    points = [(row["predicted"], row["observed"]) for row in rows]
    whiskers = [(row["predicted"], row["observed_low"], row["observed_high"]) for row in rows]
    lowest = min((row["low"] for row in rows if is_drawable(row["low"])), default=0.0)
    title = "observed share against predicted probability"
    lines = [Line("observed", points, whiskers=whiskers), Line("as sure as right", [(lowest, lowest), (1.0, 1.0)])]
    total = sum(row["n"] for row in rows if is_drawable(row["n"]))
    return figure(title, f"{stage}, n {units.count(total)}", line_chart(f"{stage}: {title}", lines, x_name="predicted probability"))


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a bin; what is none is not drawn."""
    found = {name: number_of(row.get(name)) for name in ("low", "predicted", "observed", "observed_low", "observed_high", "n")}
    return {name: float("nan") if value is None else value for name, value in found.items()}
