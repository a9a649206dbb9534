"""The page about all studies: what is claimed, what was expected, what was seen, and whether the controls behaved."""

from collections.abc import Mapping, Sequence
from typing import Any

from trivium.report.html import Html, element, join, muted
from trivium.report.page import sheet
from trivium.studies.finding import PAGE

HEADER = ("study", "claim", "expected", "seen", "verdict", "controls")
SAID = {
    "seen": "seen",
    "not seen": "not seen at this scale",
    "cannot tell": "cannot tell at this scale",
    "controls failed": "a control failed, so this counts for nothing",
    "no answer": "no answer",
}  # an outcome in words


def overview(found: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """(the table in words for a terminal, the page), from the facts of findings."""
    lines = [
        f"{facts['study']}: {SAID[facts['outcome']]} (controls: {controls_of(facts)})\n"
        f"  claim:    {facts['claim']}\n  expected: {facts['expected']}\n  seen:     {facts['verdict']}"
        for facts in found
    ]
    rows = [
        element("tr", element("th", _link(facts), scope="row"), *(element("td", cell, class_="prose") for cell in _cells(facts)))
        for facts in found
    ]
    head = element("tr", *(element("th", name, scope="col") for name in HEADER))
    whole = element("table", element("thead", head), element("tbody", *rows), aria_label="all studies")
    told = join([element("p", element("b", summary(found))),
                 muted("Each rule was written before running. Where a control is wrong, the answer counts for nothing.")])  # fmt: skip
    return "\n".join([*lines, summary(found)]), sheet("studies", [("What was seen", join([told, element("div", whole, class_="wide")]))])


def _cells(facts: Mapping[str, Any]) -> tuple[str, ...]:
    return facts["claim"], facts["expected"], facts["verdict"], SAID[facts["outcome"]], controls_of(facts)


def summary(found: Sequence[Mapping[str, Any]]) -> str:
    """Which claims are seen and which are not, in one line."""
    by_outcome = {said: [facts["study"] for facts in found if facts["outcome"] == outcome] for outcome, said in SAID.items()}
    return "; ".join(f"{said}: {', '.join(names)}" for said, names in by_outcome.items() if names) + "."


def controls_of(facts: Mapping[str, Any]) -> str:
    """`2 right`, or which are wrong."""
    wrong = [control["name"] for control in facts["controls"] if control["is_positive"] != control["is_detected"]]
    return "none" if not facts["controls"] else f"wrong: {', '.join(wrong)}" if wrong else f"{len(facts['controls'])} right"


def _link(facts: Mapping[str, Any]) -> Html:
    name = facts["study"]
    return element("a", name, href=f"study-{name}/{PAGE}") if facts["controls"] else element("span", name)
