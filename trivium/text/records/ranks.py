"""Places of answers: ranks from 0 without gaps, 0 is best, equal ranks are ties."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from trivium.core.types import Message, Preference
from trivium.text.rows import Row


def ranked(prompt: tuple[Message, ...], responses: Sequence[str], ranks: Sequence[int], meta: Mapping[str, Any]) -> Preference:
    """The preference, where equal texts share the better place, whatever the order says."""
    best: dict[str, int] = {}
    for response, rank in zip(responses, ranks, strict=True):
        best[response] = min(rank, best.get(response, rank))
    order = sorted(set(best.values()))
    return Preference(prompt, tuple(responses), tuple(order.index(best[response]) for response in responses), meta)


def ranks_of_scores(row: Row, scores: Any, count: int, name: str = "scores") -> tuple[int, ...]:
    """Places by scores, of which the highest is best."""
    if not isinstance(scores, list) or len(scores) != count or not all(map(is_number, scores)):
        row.fail(f"'{name}' must be {count} finite numbers, one for each response")
    order = sorted(set(scores), reverse=True)
    return tuple(order.index(score) for score in scores)


def ranks_of_groups(row: Row, ranking: Any, count: int) -> tuple[int, ...]:
    """Places by groups of indices, best first; a group is a tie."""
    groups = [group if isinstance(group, list) else [group] for group in ranking] if isinstance(ranking, list) else []
    indices = [index for group in groups for index in group]
    if any(type(index) is not int for index in indices) or sorted(indices) != list(range(count)):
        row.fail(f"'ranking' is {ranking!r}; it lists each index from 0 to {count - 1} once, best first, like [[2], [0, 1]]")
    place = {index: rank for rank, group in enumerate(groups) for index in group}
    return tuple(place[index] for index in range(count))


def is_number(value: Any) -> bool:
    """Whether it is a finite number, not true or false, nor an integer beyond all floats."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max
