"""What a study found: the numbers, the pictures, the sentence that follows from the rule, and whether the controls behaved.

A committed finding is a folder with study.html, table.csv, its figures as SVG, and finding.json, which is all of it for programs.
"""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trivium.core.commit import commit, verify
from trivium.core.errors import ArtefactError
from trivium.report.design import STYLE
from trivium.report.html import Html, element, join, muted, table
from trivium.report.page import sheet

PAGE, FACTS = "study.html", "finding.json"
KIND = "study"
Cell = str | float | int | None


@dataclass(frozen=True, slots=True)
class Control:
    """A case whose answer is known: a positive control has the effect, a negative one has not. is_detected: what the rule said."""

    name: str
    is_positive: bool
    is_detected: bool

    @property
    def is_right(self) -> bool:
        """Whether the rule said what is known."""
        return self.is_positive == self.is_detected


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart of report/svg.py with a title and a few words beside it."""

    title: str
    about: str
    chart: Html

    def __call__(self) -> Html:
        """For the page."""
        return element("figure", element("figcaption", element("b", self.title), element("span", self.about)), self.chart)

    def svg(self) -> str:
        """As a file of its own."""
        head, _, rest = self.chart.partition(">")
        return f'{head} xmlns="http://www.w3.org/2000/svg">{element("style", Html(STYLE))}{rest}\n'


@dataclass(frozen=True, slots=True)
class Finding:
    """A study's answer.

    holds: whether what the claim says was seen, by the rule; None where these runs cannot tell. rows: a table with its header, the same
    as in the CSV. controls: one positive and one negative at least; where one is wrong, the answer counts for nothing.
    """

    verdict: str
    holds: bool | None
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    controls: Sequence[Control]
    figures: Sequence[Figure] = ()

    def __post_init__(self) -> None:
        if {control.is_positive for control in self.controls} != {True, False}:
            raise ValueError("a finding has a positive and a negative control at least")

    @property
    def outcome(self) -> str:
        """In two words."""
        if not all(control.is_right for control in self.controls):
            return "controls failed"
        return {True: "seen", False: "not seen", None: "cannot tell"}[self.holds]

    def write(self, folder: Path, about: Mapping[str, str], *, identity: str = "") -> Path:
        """Commit the folder and return its page. about: study, claim, question, rule, expected. identity: of what it was found from."""

        def files(place: Path) -> None:
            (place / PAGE).write_text(self.page(about), "utf-8")
            (place / "table.csv").write_text(self.csv(), "utf-8")
            (place / FACTS).write_text(json.dumps(self.facts(about), indent=1, allow_nan=False), "utf-8")
            for number, figure in enumerate(self.figures, start=1):
                (place / f"figure-{number}.svg").write_text(figure.svg(), "utf-8")

        commit(folder, files, kind=KIND, meta={"study": about["study"], "identity": identity})
        return folder / PAGE

    def facts(self, about: Mapping[str, str]) -> dict[str, Any]:
        """The finding without its pictures, for programs; numbers that are not finite, which JSON does not know, are None."""
        controls = [asdict(control) for control in self.controls]
        table_rows = [dict(zip(self.header, map(_finite, row), strict=True)) for row in self.rows]
        said = {"verdict": self.verdict, "holds": self.holds, "outcome": self.outcome, "controls": controls}
        return {**about, **said, "table": table_rows}

    def csv(self) -> str:
        """The table as CSV, numbers in full."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.header, *self.rows])
        return text.getvalue()

    def page(self, about: Mapping[str, str]) -> str:
        """One HTML page that opens offline."""
        told = join([
            element("p", about["question"]), element("p", element("b", self.verdict)), muted(f"The claim: {about['claim']}"),
            muted(f"The rule, written before: {about['rule']}"), muted(f"Expected on a laptop: {about['expected']}"),
        ])  # fmt: skip
        sections = [("What was seen", told), ("Controls", self._controls())]
        if self.figures:
            sections.append(("Figures", element("div", *(figure() for figure in self.figures), class_="charts large")))
        rows = [[_shown(cell) for cell in row] for row in self.rows]
        sections.append(("Numbers", table(self.header, rows, caption="The numbers behind it (table.csv)")))
        return sheet(f"study {about['study']}", sections)

    def _controls(self) -> Html:
        words = {True: "is there", False: "is not there"}
        rows = [
            [control.name, words[control.is_positive], words[control.is_detected], "right" if control.is_right else "wrong"]
            for control in self.controls
        ]
        return table(("control", "the effect", "by the rule", ""), rows, caption="Cases whose answer is known, judged by the same code")


def found_before(folder: Path, identity: str) -> dict[str, Any] | None:
    """The facts of a finding that is committed, whole, and from the same inputs; None if there is no such one."""
    try:
        if verify(folder, kind=KIND)["meta"].get("identity") != identity:
            return None
    except ArtefactError:
        return None
    return json.loads((folder / FACTS).read_text())


def _finite(cell: Cell) -> Cell:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def _shown(cell: Cell) -> str:
    return "" if cell is None else cell if isinstance(cell, str) else f"{cell:,}" if isinstance(cell, int) else f"{cell:.4g}"
