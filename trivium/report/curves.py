"""Every curve of every stage: small charts, one a metric, on linear axes, noisy ones smoothed over their faint raw line."""

from collections.abc import Mapping

from trivium.report import units
from trivium.report.html import Html, details, element, figure, join, muted, words
from trivium.report.reading import Record, Series
from trivium.report.scale import is_drawable
from trivium.report.smoothing import is_noisy, smooth
from trivium.report.svg import Line, line_chart

_FIRST = ("loss", "held_out_loss", "bits_per_byte", "accuracy", "reward", "true_reward", "kl", "entropy", "length", "stop_rate")
_MOST_OPEN = 12


def curves(record: Record) -> Html:
    """A grid of charts for each stage, the usual metrics first; beyond twelve the rest opens on a click."""
    if not record.curves:
        return muted("Left out: this run folder has no metrics.jsonl, or it is empty.")
    shown = [stage for stage in record.stages if stage in record.curves]
    return join(join([element("h3", words(stage)), _stage(record.curves[stage])]) for stage in shown)


def _stage(series: Mapping[str, Series]) -> Html:
    names = sorted(series, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    short = [name for name in names if len(series[name]) < 2]
    charts = [chart(words(name), series[name]) for name in names if name not in short]
    parts = [element("div", *charts[:_MOST_OPEN], class_="charts")] if charts else []
    if charts[_MOST_OPEN:]:
        parts.append(details(f"{len(charts) - _MOST_OPEN} more curves", element("div", *charts[_MOST_OPEN:], class_="charts")))
    if short:
        parts.append(muted("Recorded once: " + ", ".join(f"{words(name)} {units.number(series[name][0][1])}" for name in short) + "."))
    return join(parts)


def chart(title: str, points: Series) -> Html:
    """One metric against the step; the caption gives the first and the last value of the line that is drawn."""
    line = Line(title, smooth(points), raw=points) if is_noisy(points) else Line(title, points)
    ends = [y for _, y in line.points if is_drawable(y)]
    reach = f"{units.number(ends[0])} → {units.number(ends[-1])}" if ends else ""
    num_gaps = sum(not is_drawable(y) for _, y in points)
    gaps = [muted(f"{num_gaps:,} of {len(points):,} values are not finite")] if num_gaps else []
    return figure(title, reach, line_chart(title, [line]), *gaps)
