"""The released evaluations of Pythia's gender intervention, before and after it, as the study's own runs are compared."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trivium.core.errors import DataError
from trivium.evals.bias import Share
from trivium.text.rows import Row, rows

TASK, METRIC = "crows_pairs_english_gender", "pct_stereotype"
_NAME = re.compile(r"(long-)?(baseline|pythia|intervention)-([\d.]+[mb])-deduped(-long)?(?:_step\d+\.json)?")


@dataclass(frozen=True, slots=True)
class Change:
    """A size, and the share of pairs whose stereotype is more likely without and with the intervention, after the same last step."""

    name: str
    step: int
    before: Share
    after: Share


def released_changes(path: Path) -> list[Change]:
    """Every intervention in a table of evaluations (`step`, `task`, `metric`, `value`, and the run's name in `file` or `run`).

    The values of evals_v1.csv and bias_evals.csv of EleutherAI/pythia, gathered one row a metric. Raises DataError if there is none.
    """
    found: dict[tuple[str, str, int], dict[str, float]] = {}
    for name, row in _named(path):
        if row.text("task") == TASK and row.text("metric").startswith(METRIC) and row.text("step"):
            long, kind, size, also_long = name.groups()
            is_changed = kind == "intervention"
            key = (size, f"intervention{', long' if long or also_long else ''}" if is_changed else "", int(row.finite("step")))
            found.setdefault(key, {})[row.text("metric")] = row.finite("value")
    shares = {key: Share(values[METRIC], values[f"{METRIC}_stderr"]) for key, values in found.items() if len(values) == 2}
    changes = []
    for size, kind in sorted({(size, kind) for size, kind, _ in shares if kind}):
        step = max(step for other, same, step in shares if (other, same) == (size, kind))
        if (size, "", step) in shares:
            changes.append(Change(f"{size}, {kind}", step, shares[size, "", step], shares[size, kind, step]))
    if not changes:
        raise DataError(f"{path}: has no run before and after the intervention with {TASK}, {METRIC} and its standard error")
    return changes


def _named(path: Path) -> Iterator[tuple[re.Match[str], Row]]:
    for row in rows(path):
        name = _NAME.fullmatch(str(row.values.get("file") or row.values.get("run") or ""))
        if name:
            yield name, row
