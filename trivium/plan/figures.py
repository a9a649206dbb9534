"""Numbers of a plan with where each comes from, as text for people and as JSON for programs.

exact: follows from the recipe. measured: on this machine, for this work. calibrated: fitted to what was measured on a smaller piece of it.
assumed: a constant of the plan's, or computed with one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Tag = Literal["exact", "measured", "calibrated", "assumed"]


@dataclass(frozen=True, slots=True)
class Figure:
    """value: in SI units, or a word; shown: the same for people."""

    name: str
    value: float | str
    shown: str
    tag: Tag
    note: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Figures of one subject, and lines below them that are no numbers."""

    title: str
    figures: Sequence[Figure] = ()
    lines: Sequence[str] = ()


def as_text(sections: Sequence[Section]) -> str:
    """Aligned, a title above each section."""
    return "\n\n".join("\n".join([section.title, *map(_line, section.figures), *section.lines]) for section in sections)


def as_json(sections: Sequence[Section]) -> list[Mapping[str, Any]]:
    """The same as plain values."""
    return [
        {
            "title": section.title,
            "figures": [{"name": each.name, "value": each.value, "tag": each.tag, "note": each.note} for each in section.figures],
            "lines": list(section.lines),
        }
        for section in sections
    ]


def _line(figure: Figure) -> str:
    note = f"  {figure.note}" if figure.note else ""
    return f"  {figure.name:<34} {figure.shown:>18}  {figure.tag:<10}{note}".rstrip()
