"""Groups to micro-batches of fixed size. A group is never split over micro-batches, a sequence never over rows.

First-fit in the given order: which sequence shares a row with which is a function of the groups alone. Single sequences may be put into
an order in which first-fit leaves little room (`in_full_rows`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from trivium.core.errors import DataError
from trivium.core.types import Example, Group
from trivium.data.best_fit import best_fit
from trivium.nn.batch import Batch
from trivium.nn.kernels import document_starts


@dataclass(slots=True)
class _Rows:
    """Rows being filled: free positions of each, and (row, start) of every sequence placed so far."""

    rows: int
    length: int
    free: list[int] = field(default_factory=list)
    placed: list[tuple[Example, int, int, int]] = field(default_factory=list)
    num_groups: int = 0

    def add(self, group: Group) -> bool:
        """Place all of the group, or nothing of it."""
        free, spots = list(self.free), []
        for item in group:
            need = len(item.tokens)
            row = next((number for number, space in enumerate(free) if space >= need), len(free))
            if row == len(free):
                if row == self.rows or need > self.length:
                    return False
                free.append(self.length)
            spots.append((item, row, self.length - free[row], self.num_groups))
            free[row] -= need
        self.free, self.num_groups = free, self.num_groups + 1
        self.placed += spots
        return True


def pack(groups: Sequence[Group], *, rows: int, length: int, pad: int = 0) -> list[Batch]:
    """Micro-batches of at most `rows` rows of `length` that hold all groups in order; no row is empty.

    Raises DataError if a group does not fit in one micro-batch: the stage that made it says how to drop or shorten it.
    """
    batches, open_rows = [], _Rows(rows, length)
    for group in groups:
        if open_rows.add(group):
            continue
        if open_rows.placed:
            batches.append(_tensors(open_rows, max(1, len(open_rows.free)), pad))
            open_rows = _Rows(rows, length)
        if not open_rows.add(group):
            total, longest = sum(len(item.tokens) for item in group), max(len(item.tokens) for item in group)
            raise DataError(
                f"a group of {len(group)} examples ({total:,} tokens, the longest {longest:,}) does not fit in {rows} rows of {length:,}; "
                "raise seq_len or micro_batch_rows, or drop such groups"
            )
    batches.append(_tensors(open_rows, max(1, len(open_rows.free)), pad))
    return batches


def in_full_rows(groups: Sequence[Group], length: int) -> Sequence[Group]:
    """The groups in the order of the rows that best-fit-decreasing puts them into, so that `pack` fills these, if each is one sequence.

    Others, or sequences that do not fit, come back as they are.
    """
    sizes = np.array([len(item.tokens) for group in groups for item in group], np.int64)
    if len(sizes) != len(groups) or not len(groups) or sizes.max() > length:
        return groups
    return [groups[number] for number in np.argsort(best_fit(sizes, length), kind="stable")]


def empty_batch(rows: int, length: int) -> Batch:
    """A micro-batch that counts nothing: a rank with fewer packs than its peers runs it to stay in step."""
    return _tensors(_Rows(rows, length), rows, 0)


def _tensors(filled: _Rows, rows: int, pad: int) -> Batch:
    shape, count = (rows, filled.length), len(filled.placed)
    tokens, position = np.full(shape, pad, np.int64), np.zeros(shape, np.int64)
    sequence, mask = np.full(shape, count, np.int64), np.zeros(shape, np.float32)
    names = sorted({name for item, *_ in filled.placed for name in item.columns})
    columns = {name: np.zeros(shape, np.float32) for name in names}
    last = np.zeros(count, np.int64)
    for number, (item, row, start, _) in enumerate(filled.placed):
        size = len(item.tokens)
        span = (row, slice(start, start + size))
        tokens[span], position[span], sequence[span] = item.tokens, np.arange(size), number
        mask[span] = item.loss_mask
        mask[row, start] = 0  # nothing comes before the first token, so it cannot be predicted
        last[number] = row * filled.length + start + size - 1
        for name in names:
            if name not in item.columns:
                raise DataError(f"column '{name}' is in some examples of a batch but not in all")
            columns[name][span] = item.columns[name]
    is_packed, sequence_BL = len(filled.free) < count, torch.from_numpy(sequence)
    return Batch(
        tokens_BL=torch.from_numpy(tokens),
        loss_mask_BL=torch.from_numpy(mask),
        sequence_BL=sequence_BL,
        position_BL=torch.from_numpy(position),
        group_N=torch.tensor([group for *_, group in filled.placed], dtype=torch.int64),
        last_N=torch.from_numpy(last),
        scored_P=torch.from_numpy(np.flatnonzero(mask)),
        num_sequences=count,
        num_groups=filled.num_groups,
        is_packed=is_packed,
        columns={name: torch.from_numpy(column) for name, column in columns.items()},
        starts_D=document_starts(sequence_BL) if is_packed else None,
    )
