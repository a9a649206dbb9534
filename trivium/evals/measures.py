"""From the numbers of items to a task's: value, standard error, 95 % interval; and two models on the same items.

A measure whose name ends in `perplexity` is exp of the mean of its items' numbers. A number may be a sum over a count (bits over
bytes): the measure is then the ratio of both sums, and its items' numbers those whose mean it is (the linearised ratio, Cochran 1977,
"Sampling Techniques", section 6.3).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trivium.core.errors import DataError
from trivium.report.intervals import mean_interval, paired_bootstrap, share_interval

Row = Mapping[str, Any]
EXPONENTIAL = "perplexity"


def values_of(rows: Sequence[Row], measure: str) -> list[float]:
    """A number for each item that has it, whose mean is the measure (of a perplexity its logarithm)."""
    found = [row["scores"][measure] for row in rows if measure in row["scores"]]
    if not isinstance(found[0], list):
        return found
    sums, counts = np.array(found, np.float64).T
    ratio = sums.sum() / counts.sum()
    return (ratio + (sums - ratio * counts) / counts.mean()).tolist()


def measured(rows: Sequence[Row], measure: str) -> dict[str, Any]:
    """{value, low, high, n, stderr} of one measure; numbers that are all the same say as little of how far they spread as one does.

    stderr: the standard deviation over sqrt(n), so sqrt(p (1 - p) / (n - 1)) of a share; of a perplexity by its slope (delta method).
    """
    values = values_of(rows, measure)
    n = len(values)
    is_share, has_spread = set(values) <= {0.0, 0.5, 1.0}, len(set(values)) > 1  # a tie is half a win
    value, low, high = share_interval(sum(values), n) if is_share else mean_interval(values if has_spread else values[:1])
    stderr = float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else None
    if measure.endswith(EXPONENTIAL):
        value, low, high = (None if end is None else math.exp(min(end, 700.0)) for end in (value, low, high))
        stderr = None if stderr is None or value is None else stderr * value
    return {"value": value, "low": low, "high": high, "n": n, "stderr": stderr}


def measures_in(rows: Sequence[Row]) -> list[str]:
    """The measures that items have, in order; not every item must have all, as conversations of one turn have no second grade."""
    return list(dict.fromkeys(measure for row in rows for measure in row["scores"]))


def difference(a: Sequence[Row], b: Sequence[Row], measure: str, seed: int) -> dict[str, Any]:
    """{difference, low, high, n} of a - b on the items where both have it: paired bootstrap. Of ratios and perplexities, of their items'
    numbers. Raises DataError where there is no such item.
    """
    mine, other = ({row["item"]: row for row in rows if measure in row["scores"]} for rows in (a, b))
    shared = [item for item in mine if item in other]
    if not shared:
        raise DataError(f"'{measure}': no item has it from both models, so that they cannot be compared")
    ours, theirs = (values_of([side[item] for item in shared], measure) for side in (mine, other))
    value, low, high = paired_bootstrap(ours, theirs, seed)
    return {"difference": value, "low": low, "high": high, "n": len(ours)}


def by_group(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each group, by its name; nothing if there are no groups."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["group"]:
            found.setdefault(row["group"], []).append(row)
    return dict(sorted(found.items()))
