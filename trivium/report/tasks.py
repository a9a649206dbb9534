"""Tasks of an evaluation: what was asked, how models differ item by item, and which items are in the corpus."""

from collections.abc import Mapping, Sequence
from typing import Any

from trivium.report import units
from trivium.report.html import Html, details, element, figure, join, muted, table, words
from trivium.report.reading import TASKS, Record, list_of, number_of, of_stages, table_of
from trivium.report.svg import Interval, intervals

_MOST_LINES = 200  # of the table in the log


def tasks(record: Record) -> Html:
    """The differences with their intervals, drawn and as a table, and each task with the whole prompt of its first item."""
    return of_stages(record, TASKS, _stage)


def told(results: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> list[str]:
    """The tables as lines of text: a row a measure with a column a model, then the differences."""
    models = list(dict.fromkeys(row["stage"] for row in results))
    by_measure: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in results:
        by_measure.setdefault(row["measure"], {})[row["stage"]] = row
    rows = [["95 % intervals", *models, "n"]]
    rows += [[name, *(_cell(row.get(model)) for model in models), str(next(iter(row.values()))["n"])] for name, row in by_measure.items()]
    lines = _aligned(rows[: _MOST_LINES + 1])
    if len(rows) > _MOST_LINES + 1:
        lines.append(f"... and {len(rows) - _MOST_LINES - 1:,} more in results.json")
    differences = [
        [f"{each['task']}: {each['measure']}", f"{each['model']} - {each['than']}", _difference(each)] for each in found["differences"]
    ]
    return [*lines, *(_aligned([["paired bootstrap", "models", "difference"], *differences]) if differences else [])]


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return "-"
    within = f" [{row['low']:.4g}, {row['high']:.4g}]" if row["low"] is not None and row["high"] is not None else ""
    return f"{row['value']:.4g}{within}"


def _difference(each: Mapping[str, Any]) -> str:
    verdict = "" if each["low"] <= 0 <= each["high"] else "  *"
    return f"{each['difference']:+.4f} [{each['low']:+.4f}, {each['high']:+.4f}]{verdict}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _stage(stage: str, found: Mapping[str, Any]) -> Html:
    differences = [table_of(each) for each in list_of(found.get("differences"))]
    parts = [element("h3", words(stage)), *_differences(differences)]
    asked = table_of(found.get("tasks"))
    hits = [(name, table_of(table_of(task).get("contamination"))) for name, task in asked.items()]
    if any(hit for _, hit in hits):
        parts.append(_contamination([(name, hit) for name, hit in hits if hit]))
    return join([*parts, *(_task(name, table_of(task)) for name, task in asked.items())])


def _differences(rows: Sequence[Mapping[str, Any]]) -> list[Html]:
    if not rows:
        return []
    drawn = [
        Interval(f"{_name(row)} ({row.get('model')} - {row.get('than')})", value, number_of(row.get("low")), number_of(row.get("high")))
        for row in rows
        if (value := number_of(row.get("difference"))) is not None and abs(value) <= 1 and str(row.get("measure")) in _DRAWN
    ]
    caption = "Differences on the same items, with 95 % intervals by paired bootstrap; one that leaves out 0 is more than chance."
    cells = [
        [
            _name(row),
            f"{row.get('model')} - {row.get('than')}",
            *(units.number(number_of(row.get(end))) for end in ("difference", "low", "high")),
        ]
        for row in rows
    ]
    chart = figure("difference", "", intervals("differences with 95 % intervals", drawn))
    shown = table(["measure", "models", "difference", "from", "to"], cells, caption=caption)
    return [*([element("div", chart, class_="bars")] if drawn else []), shown]


_DRAWN = ("acc", "acc_norm", "first_preferred", "pass@1", "exact", "numeric", "prompt_strict")  # shares, which go on one axis


def _name(row: Mapping[str, Any]) -> str:
    return f"{row.get('task')}: {row.get('measure')}"


def _contamination(hits: Sequence[tuple[str, Mapping[str, Any]]]) -> Html:
    caption = "Items that stand in the corpus: a run of 13 words in common, or all of a text of 8 to 12; shorter ones cannot be recognised."
    names = ("items", "hit_items", "documents", "too_short")
    rows = [[name, *(units.count(number_of(hit.get(column))) for column in names)] for name, hit in hits]
    return table(["task", "items", "in the corpus", "documents", "too short"], rows, caption=caption)


def _task(name: str, task: Mapping[str, Any]) -> Html:
    shown = [element("pre", task["shown"])] if isinstance(task.get("shown"), str) else []
    return details(
        f"{name}: {units.count(number_of(task.get('items')))} items",
        element("p", task.get("about", "")),
        muted("Item 1, all that is read:"),
        *shown,
    )
