"""The page about all studies: what is claimed, what was expected, what was seen, and whether the controls behaved."""

from collections.abc import Mapping, Sequence
from typing import Any

from trivium.report.html import Html, element, join, muted
from trivium.report.page import sheet
from trivium.studies.finding import PAGE

HEADER = ("study", "claim", "expected", "seen", "verdict", "controls")


def overview(found: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """(the table in words for a terminal, the page), from the facts of findings."""
    lines = [f"{facts['study']:<18} {facts['outcome']:<16} controls: {controls_of(facts):<10} {facts['claim']}" for facts in found]
    rows = [
        element("tr", element("th", _link(facts), scope="row"), *(element("td", cell, class_="prose") for cell in _cells(facts)))
        for facts in found
    ]
    head = element("tr", *(element("th", name, scope="col") for name in HEADER))
    whole = element("table", element("thead", head), element("tbody", *rows), aria_label="all studies")
    told = muted("Each rule was written before running. Where a control is wrong, the answer counts for nothing.")
    return "\n".join(lines), sheet("studies", [("What was seen", join([told, element("div", whole, class_="wide")]))])


def _cells(facts: Mapping[str, Any]) -> tuple[str, ...]:
    return facts["claim"], facts["expected"], facts["verdict"], facts["outcome"], controls_of(facts)


def controls_of(facts: Mapping[str, Any]) -> str:
    """`2 right`, or which are wrong."""
    wrong = [control["name"] for control in facts["controls"] if control["is_positive"] != control["is_detected"]]
    return "none" if not facts["controls"] else f"wrong: {', '.join(wrong)}" if wrong else f"{len(facts['controls'])} right"


def _link(facts: Mapping[str, Any]) -> Html:
    name = facts["study"]
    return element("a", name, href=f"study-{name}/{PAGE}") if facts["controls"] else element("span", name)
