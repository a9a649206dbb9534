"""Which documents share a row of pre-training: best-fit-decreasing, so that rows are full and few documents are cut.

Ding et al. 2024, "Fewer Truncations Improve Language Modeling", arXiv:2404.10830, section 3: what is longer than a row is cut into
rows, and the rest of it packed like the short documents. Differences: pieces of one document overlap by a token, so that each
of its tokens but the first is predicted once; and equal lengths are placed together, which makes the cost O(length^2) at most,
whatever the number of documents. Left out: cutting documents to fill a row, which loses a third of the tokens (nanochat).
"""

from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Pieces:
    """Parts of documents, (P,) each: where in the stream they begin, how many tokens they have, and whether a document goes on."""

    start_P: np.ndarray
    length_P: np.ndarray
    is_rest_P: np.ndarray

    @staticmethod
    def of(starts_D: np.ndarray, room: int) -> "Pieces":
        """Of documents that begin at starts_D, the last entry the end of the stream, no piece longer than `room`."""
        lengths_D, stride = np.diff(starts_D), room - 1
        counts_D = np.where(lengths_D > 0, np.maximum(1, -(-(lengths_D - 1) // stride)), 0)
        document_P = np.repeat(np.arange(len(lengths_D)), counts_D)
        number_P = np.arange(len(document_P)) - np.repeat(np.cumsum(counts_D) - counts_D, counts_D)
        offset_P = number_P * stride
        return Pieces(starts_D[document_P] + offset_P, np.minimum(room, lengths_D[document_P] - offset_P), number_P > 0)


def best_fit(lengths_P: np.ndarray, room: int) -> np.ndarray:
    """The row of each piece, (P,) int64, numbered from 0: longest first, each into the fullest row that it fits into.

    Lengths are from 1 to room. A function of the lengths alone.
    """
    order = np.argsort(-lengths_P, kind="stable")
    sizes, firsts = np.unique(-lengths_P[order], return_index=True)
    row_P, num_rows = np.empty(len(lengths_P), np.int64), 0
    spaces: list[int] = []  # what rows have left, ascending
    rows_with: dict[int, np.ndarray] = {}  # and which rows these are
    for size, members in zip(-sizes, np.split(order, firsts[1:]), strict=True):
        while len(members):
            place = bisect_left(spaces, size)
            space = spaces[place] if place < len(spaces) else room
            each = space // int(size)  # pieces of this size in one row: once it has one, it is the fullest that takes the next
            wanted = -(-len(members) // each)
            if place < len(spaces):
                rows = rows_with.pop(spaces.pop(place))
            else:
                rows, num_rows = np.arange(num_rows, num_rows + wanted), num_rows + wanted
            used, unused = rows[:wanted], rows[wanted:]
            row_P[members[: len(used) * each]] = np.repeat(used, each)[: len(members)]
            last = min(each, len(members) - (len(used) - 1) * each)  # pieces in the last of them
            for left, these in ((space, unused), (space - each * size, used[:-1]), (space - last * size, used[-1:])):
                _keep(spaces, rows_with, int(left), these)
            members = members[len(used) * each :]
    return row_P


def _keep(spaces: list[int], rows_with: dict[int, np.ndarray], space: int, rows: np.ndarray) -> None:
    """Note that rows have this much left; full ones are done."""
    if not space or not len(rows):
        return
    if space not in rows_with:
        insort(spaces, space)
    rows_with[space] = np.concatenate([rows_with[space], rows]) if space in rows_with else rows
