"""Conversations that models wrote: what was said of all of them, and a table of the first hundred."""

from collections.abc import Mapping
from typing import Any

from trivium.report import units
from trivium.report.html import Html, details, element, join, words
from trivium.report.reading import WRITTEN, Record, list_of, number_of, of_stages, table_of
from trivium.report.svg import Bar, bars

VALID = "valid"
_VALID, _OTHER = 0, 1
_HEADER = ("", "query", "answer", "verdict")


def written(record: Record) -> Html:
    """Bars of verdicts and a table of samples for every stage that wrote or chose conversations."""
    return of_stages(record, WRITTEN, _stage)


def _stage(stage: str, found: Mapping[str, Any]) -> Html:
    counts = {name: number for name, count in table_of(found.get("verdicts")).items() if (number := number_of(count)) is not None}
    total = sum(counts.values())
    shown = [
        Bar(name, count, f"{units.count(count)} ({units.share(count / total)})", _VALID if name == VALID else _OTHER)
        for name, count in counts.items()
        if total
    ]
    rows = [table_of(row) for row in list_of(found.get("shown"))]
    body = (
        element("tr", element("th", number, scope="row"), *(element("td", str(row.get(name, ""))) for name in _HEADER[1:]))
        for number, row in enumerate(rows, start=1)
    )
    head = element("tr", *(element("th", name, scope="col") for name in _HEADER))
    sample = element("div", element("table", element("thead", head), element("tbody", *body)), class_="wide texts")
    return join(
        [
            element("h3", words(stage)),
            element("div", bars(f"verdicts on {words(stage)}", shown), class_="bars"),
            details(f"the first {len(rows):,} of {units.count(total)}, which were not chosen by anybody", sample) if rows else "",
        ]
    )
