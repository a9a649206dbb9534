"""Sections of a task: several groups of items together, each with its weight, as RewardBench reports its subsets.

The value of a section is sum(w x) / sum(w) over its items, that of all sections the mean of theirs, by their weights. Both are ratios, so
`measures.py` gives their intervals.
"""

from collections.abc import Mapping, Sequence

from trivium.evals.measures import Row
from trivium.evals.task import Section

ALL = "all sections"


def sections_of(groups: Mapping[str, Sequence[Row]], sections: Mapping[str, Section], measure: str) -> dict[str, list[Row]]:
    """Section -> its rows, in which the measure is [w x, w]; and of all of them, where there are two or more. Those without items are none.

    groups: the rows of each group.
    """
    found: dict[str, list[Row]] = {}
    every: list[Row] = []
    for name, section in sections.items():
        rows = [(row, weight) for group in section.groups for row, weight in _weighed(groups.get(group, ()), group, section, measure)]
        if not rows:
            continue
        total = sum(weight for _, weight in rows)
        found[name] = [_as_ratio(row, measure, weight) for row, weight in rows]
        every += [_as_ratio(row, measure, weight / total * section.weight) for row, weight in rows]
    return found | ({ALL: every} if len(found) > 1 else {})


def _weighed(rows: Sequence[Row], group: str, section: Section, measure: str) -> list[tuple[Row, float]]:
    there = [row for row in rows if measure in row["scores"]]
    weight = section.weights.get(group, 1.0)
    return [(row, weight / len(there) if section.is_even else weight) for row in there]


def _as_ratio(row: Row, measure: str, weight: float) -> Row:
    value = row["scores"][measure]
    won, out_of = value if isinstance(value, list) else (value, 1.0)
    return {**row, "scores": {measure: [weight * won, weight * out_of]}}
