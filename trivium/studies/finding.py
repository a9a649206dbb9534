"""What a study found: the question, the rule that decides, the numbers, the pictures, and the sentence that follows from the rule."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trivium.core.commit import commit
from trivium.report.html import Html, element, join, muted, table
from trivium.report.page import sheet

PAGE = "study.html"
Cell = str | float | int | None


@dataclass(frozen=True, slots=True)
class Finding:
    """A study's answer. holds: whether the rule's condition was met. rows: a table with its header, the same as in the CSV."""

    study: str
    question: str
    rule: str
    verdict: str
    holds: bool
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    figures: Sequence[Html] = ()

    def write(self, folder: Path) -> Path:
        """Commit the folder: study.html, table.csv and finding.json. Returns the page's path."""

        def files(place: Path) -> None:
            (place / PAGE).write_text(self.page(), "utf-8")
            (place / "table.csv").write_text(self.csv(), "utf-8")
            (place / "finding.json").write_text(json.dumps(self.facts(), indent=1), "utf-8")

        commit(folder, files, kind="study", meta={"study": self.study})
        return folder / PAGE

    def facts(self) -> dict[str, object]:
        """The finding without its pictures, for programs."""
        table_rows = [dict(zip(self.header, row, strict=True)) for row in self.rows]
        return {"study": self.study, "rule": self.rule, "holds": self.holds, "verdict": self.verdict, "table": table_rows}

    def csv(self) -> str:
        """The table as CSV, numbers in full."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.header, *self.rows])
        return text.getvalue()

    def page(self) -> str:
        """One HTML page that opens offline."""
        told = join(
            [element("p", self.question), element("p", element("b", self.verdict)), muted(f"The rule, written before: {self.rule}")]
        )
        shown = table(self.header, [[_shown(cell) for cell in row] for row in self.rows], caption="The numbers behind it (table.csv)")
        sections = [("What was seen", told), ("Figures", element("div", *self.figures, class_="charts large")), ("Numbers", shown)]
        return sheet(f"study {self.study}", sections)


def _shown(cell: Cell) -> str:
    return "" if cell is None else cell if isinstance(cell, str) else f"{cell:.4g}"
