"""What routers are worth: the gap recovered against the share of strong calls, what quality costs, and whether the prompt told who wins."""

from collections.abc import Mapping
from typing import Any

from trivium.report import units
from trivium.report.html import Html, element, figure, join, table, words
from trivium.report.reading import ROUTING, Record, list_of, number_of, of_stages, table_of
from trivium.report.svg import NUM_COLOURS, Line, line_chart


def routing(record: Record) -> Html:
    """Tables and curves for every stage that trained routers."""
    return of_stages(record, ROUTING, _stage)


def _stage(stage: str, found: Mapping[str, Any]) -> Html:
    routers = {kind: table_of(table_of(found.get("routers")).get(kind)) for kind in map(str, list_of(found.get("ranked")))}
    train, heldout = table_of(found.get("train")), table_of(found.get("heldout"))
    sizes = [units.count(number_of(part.get(name))) for part in (train, heldout) for name in ("matches", "prompts")]
    told = (
        f"Learned from {sizes[0]} matches on {sizes[1]} prompts, measured on {sizes[2]} matches on {sizes[3]} held-out prompts;"
        f" features of prompts: {found.get('features')}."
    )
    parts = [element("h3", words(stage)), element("p", told), element("p", element("b", str(found.get("verdict", ""))))]
    parts.append(_predictions(routers))
    if found.get("oracle"):
        parts += [_worths(found, routers), _published(found)]
    charts = [chart for chart in (_curves(found, routers), _prices(routers)) if chart]
    return join([*parts, element("div", *charts, class_="charts large")])


def _predictions(routers: Mapping[str, Mapping[str, Any]]) -> Html:
    rows = []
    for kind, one in routers.items():
        found = table_of(one.get("prediction"))
        error = units.number(number_of(found.get("calibration_error")))
        rows.append([words(kind), *(_three(found.get(name)) for name in ("accuracy", "log_loss", "gain")), error])
    header = ["router", "accuracy", "log-loss, nats", "nats gained over plain Bradley-Terry", "calibration error"]
    return table(
        header, rows, caption="Who wins on held-out prompts; 'random' is plain Bradley-Terry; in brackets 95 % intervals by prompts"
    )


def _worths(found: Mapping[str, Any], routers: Mapping[str, Mapping[str, Any]]) -> Html:
    named = {**routers, "oracle": {"worth": found.get("oracle")}}
    rows = [[words(kind), *_worth(table_of(one.get("worth"))), _share(table_of(one.get("share")))] for kind, one in named.items()]
    quality = ", ".join(f"{model} {units.number(number_of(value))}" for model, value in table_of(found.get("quality")).items())
    header = ["router", "APGR", "CPT(50)", "CPT(80)", "strong calls, wanted and got"]
    return table(header, rows, caption=f"Mean worth of an answer: {quality}. APGR: mean gap recovered; CPT: share of strong calls needed")


def _worth(one: Mapping[str, Any]) -> list[str]:
    cpt = zip(list_of(one.get("cpt")), list_of(one.get("cpt_low")), list_of(one.get("cpt_high")), strict=False)
    return [_three([one.get("apgr"), one.get("apgr_low"), one.get("apgr_high")]), *(_three(list(row)) for row in cpt)]


def _share(one: Mapping[str, Any]) -> str:
    wanted, got = (number_of(one.get(name)) for name in ("wanted", "measured"))
    return "" if wanted is None else f"{units.number(wanted)}, {units.number(got)}"


def _published(found: Mapping[str, Any]) -> Html:
    rows = [
        [
            str(row.get("router")),
            str(row.get("benchmark")),
            *(units.number(number_of(row.get(name))) for name in ("apgr", "cpt_50", "cpt_80")),
        ]
        for row in map(table_of, list_of(found.get("published")))
    ]
    caption = (
        "Published beside it (RouteLLM, table 1): other prompts and other training data, so for the order of magnitude; CPT in per cent"
    )
    return table(["router", "benchmark", "APGR", "CPT(50), %", "CPT(80), %"], rows, caption=caption)


def _curves(found: Mapping[str, Any], routers: Mapping[str, Mapping[str, Any]]) -> Html | None:
    if not found.get("oracle"):
        return None
    lines = [Line(words(kind), _points(list_of(table_of(one.get("worth")).get("curve")))) for kind, one in routers.items()]
    lines = [*lines[: NUM_COLOURS - 1], Line("oracle", _points(list_of(table_of(found.get("oracle")).get("curve"))))]
    title = "gap recovered against share of strong calls"
    return figure(title, "", line_chart(title, lines, x_name="share of strong calls"))


def _prices(routers: Mapping[str, Mapping[str, Any]]) -> Html | None:
    lines = []
    for kind, one in routers.items():
        rows = [table_of(row) for row in list_of(one.get("spent"))]
        pairs = sorted((number_of(row.get("cost")), number_of(row.get("quality"))) for row in rows)
        lines += [Line(words(kind), [(x, y) for x, y in pairs if x is not None and y is not None])] if rows else []
    if not lines:
        return None
    title = "worth of an answer against its mean price"
    return figure(title, "", line_chart(title, lines[:NUM_COLOURS], x_name="mean price"))


def _points(rows: list[Any]) -> list[tuple[float, float]]:
    pairs = [tuple(number_of(value) for value in list_of(row)) for row in rows]
    return [(pair[0], pair[1]) for pair in pairs if len(pair) == 2 and pair[0] is not None and pair[1] is not None]


def _three(values: Any) -> str:
    value, low, high = ([*(units.number(number_of(each)) for each in list_of(values)), "", "", ""])[:3]
    return f"{value} [{low}, {high}]" if value else ""
