"""Which groups of a step a rank works on: a function of the groups and of the number of ranks, so that no rank has to be told."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TypeVar

from trivium.core.types import Group

T = TypeVar("T")
EXACT_SHARES = 4  # parts that a step is cut into, where it is to have the same bits with 1, 2 or 4 ranks (train/exact.py)


def share(groups: Sequence[Group], rank: int, size: int) -> Sequence[Group]:
    """The groups of one of `size` ranks, in their order; all ranks together have each of them once.

    The longest first, each goes to the rank that has the fewest tokens so far (Graham 1969: at most 4/3 of the best that can be), of
    equal ones to the first. All of them for one process.
    """
    if size == 1:
        return groups
    lengths = [sum(len(item.tokens) for item in group) for group in groups]
    loads, owner = [0] * size, [0] * len(groups)
    for number in sorted(range(len(groups)), key=lambda number: -lengths[number]):
        owner[number] = loads.index(min(loads))
        loads[owner[number]] += lengths[number]
    return [group for group, own in zip(groups, owner, strict=True) if own == rank]


def cut(items: Sequence[T], sizes: Sequence[int]) -> list[Sequence[T]]:
    """Items in parts of these sizes, one after the other."""
    ends = list(accumulate(sizes, initial=0))
    return [items[start:end] for start, end in pairwise(ends)]
