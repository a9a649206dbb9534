"""Charts as pure functions from numbers to SVG: lines, bars, intervals. Values that are not finite are gaps and are counted.

Every chart carries a title and a description for those who do not see it. Colours are classes c0 to c5 of `design.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from trivium.report import units
from trivium.report.html import Html, element, join
from trivium.report.scale import Scale, is_drawable, nice_scale
from trivium.report.smoothing import Gappy, Point, decimate

NUM_COLOURS = 6
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 280, 176, 44, 8, 8, 34
_LEGEND = 20


@dataclass(frozen=True, slots=True)
class Line:
    """A named line; `raw` is drawn faint behind it, as a line or as dots. whiskers: (x, low, high) of the intervals of its points."""

    name: str
    points: Sequence[Point]
    raw: Sequence[Point] = field(default=())
    is_cloud: bool = False
    whiskers: Sequence[tuple[float, float, float]] = field(default=())


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar with its name before and its text behind; bars with one colour belong together."""

    name: str
    value: float
    text: str
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the ends of its interval, if it has one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


def line_chart(title: str, lines: Sequence[Line], *, x_name: str = "step") -> Html:
    """Lines over one pair of axes, in a box of 280 by 176 that grows with its place. Without a finite point: axes and a word."""
    ends = [(x, y) for line in lines for x, *interval in line.whiskers for y in interval]
    everything = [*ends, *(point for line in lines for point in (*line.points, *line.raw))]
    drawn = [point for point in everything if is_drawable(point[0]) and is_drawable(point[1])]
    x, y = nice_scale((point[0] for point in drawn), is_tight=True), nice_scale(point[1] for point in drawn)
    top = _TOP + (_LEGEND if len(lines) > 1 else 0)
    frame = _Frame(x, y, top)
    marks = [mark for colour, line in enumerate(lines) for mark in _line(frame, line, colour % NUM_COLOURS)]
    if not drawn:
        marks = [_label(_WIDTH / 2, _HEIGHT / 2, "no finite values", "middle")]
    parts = [*_axes(frame, x_name), *(_legend(lines) if len(lines) > 1 else []), *marks]
    return _svg(title, "; ".join(_in_words(line) for line in lines), parts, viewBox=f"0 0 {_WIDTH} {_HEIGHT}")


def bars(title: str, rows: Sequence[Bar]) -> Html:
    """Horizontal bars from zero. Widths are shares of the page, so text keeps its size on every screen."""
    largest = max((row.value for row in rows if is_drawable(row.value)), default=0.0)
    parts: list[Html] = []
    for index, row in enumerate(rows):
        width = 100 * max(row.value, 0) / largest if is_drawable(row.value) and largest > 0 else 0.0
        top = 40 * index
        parts += [_label(0, top + 13, row.name), _label("100%", top + 13, row.text, "end", "value")]
        parts.append(element("rect", x=0, y=top + 19, width="100%", height=10, class_="track"))
        parts.append(element("rect", x=0, y=top + 19, width=f"{width:.2f}%", height=10, class_=f"fill c{row.colour % NUM_COLOURS}"))
    return _svg(title, "; ".join(f"{row.name}: {row.text}" for row in rows), parts, width="100%", height=40 * len(rows))


def intervals(title: str, rows: Sequence[Interval]) -> Html:
    """A dot at each value and a whisker over its interval, on one axis."""
    ends = [value for row in rows for value in (row.value, row.low, row.high) if is_drawable(value)]
    scale, bottom = nice_scale(ends, num_ticks=6, is_tight=True), 36 * len(rows)
    ticks = [element("line", x1=_x(scale, tick), x2=_x(scale, tick), y1=0, y2=bottom, class_="grid") for tick in scale.ticks]
    names = [_label(_x(scale, tick), bottom + 14, scale.label(tick), "middle", "tick") for tick in scale.ticks]
    whiskers = [mark for index, row in enumerate(rows) for mark in _whisker(scale, row, index)]
    inside = element("svg", *ticks, *names, *whiskers, x="6%", width="88%", overflow="visible")
    labels = [_label(0, 36 * index + 12, row.name) for index, row in enumerate(rows)]
    values = [_label("100%", 36 * index + 12, units.number(row.value), "end", "value") for index, row in enumerate(rows)]
    return _svg(title, "; ".join(_interval_in_words(row) for row in rows), [inside, *labels, *values], width="100%", height=bottom + 20)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where values are on the paper."""

    x: Scale
    y: Scale
    top: int

    def across(self, value: float) -> float:
        return round(_LEFT + self.x(value) * (_WIDTH - _LEFT - _RIGHT), 1)

    def down(self, value: float) -> float:
        return round(_HEIGHT - _BOTTOM - self.y(value) * (_HEIGHT - _BOTTOM - self.top), 1)


def _axes(frame: _Frame, x_name: str) -> list[Html]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for tick in frame.y.ticks:
        at = frame.down(tick)
        parts.append(element("line", x1=_LEFT, x2=right, y1=at, y2=at, class_="grid"))
        parts.append(_label(_LEFT - 5, at + 3.5, frame.y.label(tick), "end", "tick"))
    for tick in frame.x.ticks:
        at = frame.across(tick)
        anchor = "end" if at > right - 12 else "middle"
        parts.append(element("line", x1=at, x2=at, y1=bottom, y2=bottom + 3, class_="axis"))
        parts.append(_label(at, bottom + 14, frame.x.label(tick), anchor, "tick"))
    parts.append(element("line", x1=_LEFT, x2=right, y1=bottom, y2=bottom, class_="axis"))
    return [*parts, _label((_LEFT + right) / 2, _HEIGHT - 4, x_name, "middle", "tick")]


def _legend(lines: Sequence[Line]) -> list[Html]:
    room = (_WIDTH - _LEFT - _RIGHT) / len(lines)
    parts = []
    for colour, line in enumerate(lines):
        at = _LEFT + colour * room
        parts += [element("path", d=f"M{at:.1f} 10h14", class_=f"line c{colour % NUM_COLOURS}"), _label(at + 18, 14, line.name)]
    return parts


def _line(frame: _Frame, line: Line, colour: int) -> list[Html]:
    raw, points = decimate(line.raw), decimate(line.points)
    if line.is_cloud:
        behind = [_dot(frame, point, f"dot faint c{colour}") for point in raw if point]
    else:
        behind = [_path(frame, raw, f"line faint c{colour}")] if raw else []
    spans = [span for span in line.whiskers if all(map(is_drawable, span))]
    behind += [_path(frame, [(x, low), (x, high)], f"line faint c{colour}") for x, low, high in spans]
    dots = [point for point in points if point] if line.whiskers else _lonely(points)
    return [*behind, _path(frame, points, f"line c{colour}"), *(_dot(frame, point, f"dot c{colour}") for point in dots)]


def _path(frame: _Frame, points: Gappy, class_: str) -> Html:
    commands, pen = [], "M"
    for point in points:
        if point:
            commands.append(f"{pen}{frame.across(point[0]):g} {frame.down(point[1]):g}")
        pen = "L" if point else "M"
    return element("path", d="".join(commands), class_=class_)


def _lonely(points: Gappy) -> Iterable[Point]:
    """Points between two gaps, which a line cannot show."""
    padded = [None, *points, None]
    return [point for before, point, after in zip(padded, points, padded[2:], strict=False) if point and not before and not after]


def _dot(frame: _Frame, point: Point, class_: str) -> Html:
    return element("circle", cx=frame.across(point[0]), cy=frame.down(point[1]), r=1.8, class_=class_)


def _whisker(scale: Scale, row: Interval, index: int) -> list[Html]:
    at, colour = 36 * index + 24, index % NUM_COLOURS
    marks = []
    if is_drawable(row.low) and is_drawable(row.high):
        ends = (_x(scale, row.low), _x(scale, row.high))
        marks = [element("line", x1=ends[0], x2=ends[1], y1=at, y2=at, class_=f"line c{colour}")]
        marks += [element("line", x1=end, x2=end, y1=at - 4, y2=at + 4, class_=f"line c{colour}") for end in ends]
    return [*marks, element("circle", cx=_x(scale, row.value), cy=at, r=3.2, class_=f"dot c{colour}")] if is_drawable(row.value) else marks


def _x(scale: Scale, value: float) -> str:
    return f"{100 * scale(value):.2f}%"


def _label(x: float | str, y: float, text: str, anchor: str = "start", class_: str = "label") -> Html:
    return element("text", text, x=x if isinstance(x, str) else f"{x:g}", y=f"{y:g}", text_anchor=anchor, class_=class_)


def _in_words(line: Line) -> str:
    ends = [y for x, y in line.points if is_drawable(x) and is_drawable(y)]
    return f"{line.name}: from {units.number(ends[0])} to {units.number(ends[-1])}" if ends else f"{line.name}: no finite values"


def _interval_in_words(row: Interval) -> str:
    within = f", 95 % interval {units.number(row.low)} to {units.number(row.high)}" if row.low is not None and row.high is not None else ""
    return f"{row.name}: {units.number(row.value)}{within}"


def _svg(title: str, description: str, parts: Iterable[Html], **box: object) -> Html:
    return element("svg", element("title", title), element("desc", description), join(parts), role="img", aria_label=title, **box)
