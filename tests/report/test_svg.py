import math
import xml.etree.ElementTree as ElementTree

import pytest

from trivium.report.svg import Bar, Interval, Line, bars, intervals, line_chart


def tags(svg):
    return [node.tag for node in ElementTree.fromstring(svg).iter()]


def path_of(svg):
    return next(node.get("d") for node in ElementTree.fromstring(svg).iter("path"))


def test_a_line_goes_from_corner_to_corner_of_its_axes():
    assert path_of(line_chart("loss", [Line("loss", [(0, 0), (100, 10)])])) == "M44 142L272 8"


def test_a_value_that_is_not_finite_lifts_the_pen():
    svg = line_chart("loss", [Line("loss", [(0, 1), (1, 2), (2, math.nan), (3, 2), (4, 1)])])
    assert path_of(svg).count("M") == 2


def test_a_point_between_two_gaps_is_a_dot():
    svg = line_chart("loss", [Line("loss", [(0, 1), (1, 2), (2, math.inf), (3, 2), (4, None)])])
    assert tags(svg).count("circle") == 1


@pytest.mark.parametrize("points", [[], [(1, math.nan)], [(1, 1e400)], [(3, 5)], [(1, 1e308), (2, -1e308)]])
def test_a_chart_of_nothing_is_a_chart(points):
    svg = line_chart("loss", [Line("loss", points)])
    ElementTree.fromstring(svg)
    assert "nan" not in svg.lower()
    assert ("no finite values" in svg) == (points != [(3, 5)])


def test_thousands_of_points_make_a_small_chart():
    points = [(float(x), math.sin(x)) for x in range(50_000)]
    assert len(line_chart("loss", [Line("loss", points, raw=points)])) < 20_000


def test_charts_say_what_they_show_to_those_who_do_not_see_them():
    root = ElementTree.fromstring(line_chart("a < b", [Line("loss", [(1, 9.0), (2, 3.0)])]))
    assert [node.text for node in root[:2]] == ["a < b", "loss: from 9.000 to 3.000"]
    assert root.get("role") == "img"


def test_whiskers_reach_over_their_interval_and_every_point_has_a_dot():
    svg = line_chart("share", [Line("share", [(0, 5), (10, 5)], whiskers=[(0, 0, 10), (10, 4, math.nan)])])
    paths = [node.get("d") for node in ElementTree.fromstring(svg).iter("path")]
    assert paths == ["M44 142L44 8", "M44 75L272 75"]
    assert tags(svg).count("circle") == 2


def test_bars_are_as_wide_as_their_share_of_the_largest():
    svg = bars("funnel", [Bar("read", 200, "200"), Bar("kept", 50, "50"), Bar("odd", math.nan, "–")])
    widths = [node.get("width") for node in ElementTree.fromstring(svg).iter("rect") if "fill" in node.get("class")]
    assert widths == ["100.00%", "25.00%", "0.00%"]


def test_bars_of_nothing_have_no_width():
    assert 'width="0.00%"' in bars("funnel", [Bar("read", 0, "0")])
    ElementTree.fromstring(bars("funnel", []))


def test_whiskers_reach_from_end_to_end():
    svg = intervals("score", [Interval("base", 0.5, 0.0, 1.0), Interval("tuned", 0.75)])
    nodes = list(ElementTree.fromstring(svg).iter())
    assert [node.get("cx") for node in nodes if node.tag == "circle"] == ["50.00%", "75.00%"]
    assert [(node.get("x1"), node.get("x2")) for node in nodes if "line" in (node.get("class") or "").split()][0] == ("0.00%", "100.00%")


def test_an_interval_without_a_value_is_left_blank():
    assert "circle" not in tags(intervals("score", [Interval("base", math.nan, None, None)]))
