"""The published training data of Pythia as a source: rows of 2,049 tokens, stored in the order in which every model saw them.

Biderman et al. 2023, arXiv:2304.01373: pile-standard-pythia-preshuffled and pile-deduped-pythia-preshuffled are a Megatron index,
document.idx, and its data in pieces, document-00000-of-00020.bin to document-00020-of-00020.bin, cut by bytes. They are read where they
lie: nothing is joined on disk. Row i is trained on at step i // 1024; its first 2,048 tokens are the inputs, its last 2,048 the targets,
which is what a row is here too.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trivium.core.errors import ArtefactError, DataError
from trivium.core.types import Example, Group, example
from trivium.data.ngrams import Stream
from trivium.data.sources import Span, groups_at
from trivium.text.shards import read_index

ROWS_PER_STEP = 1024
_CHECKED_ROWS = 1 << 22  # lengths looked at in one go


class JoinedFiles:
    """Files that were one, as one array of ids: `ids[a:b]` gives ids a .. b - 1 and reads nothing else."""

    def __init__(self, files: list[Path], dtype: np.dtype) -> None:
        self.dtype = dtype
        self._maps = [np.memmap(file, np.uint8, mode="r") for file in files if file.stat().st_size]
        self._ends = np.cumsum([len(part) for part in self._maps])
        self.num_bytes = int(self._ends[-1]) if self._maps else 0

    def __len__(self) -> int:
        return self.num_bytes // self.dtype.itemsize

    def __getitem__(self, wanted: slice) -> np.ndarray:
        first, last, _ = wanted.indices(len(self))
        start, end = first * self.dtype.itemsize, max(first, last) * self.dtype.itemsize
        pieces, begin = [np.empty(0, np.uint8)], 0
        for part, until in zip(self._maps, self._ends.tolist(), strict=True):
            if begin < end and start < until:
                pieces.append(part[max(0, start - begin) : end - begin])
            begin = until
        return np.concatenate(pieces).view(self.dtype)


class PythiaRows:
    """Rows in stored order, `rows_per_step` a step, once through.

    path: without its ending, as Pythia's tools take it (FOLDER/document); its data is path.bin or path-00000-of-N.bin and so on.
    Raises ArtefactError: files missing or damaged, or sequences that are no rows of one length.
    """

    filled = 1.0

    def __init__(self, path: Path, *, rows_per_step: int = ROWS_PER_STEP) -> None:
        self.path, self.rows_per_step = path, rows_per_step
        lengths, dtype = read_index(path.with_name(f"{path.name}.idx"))
        self.num_rows, self.seq_len = len(lengths), int(lengths[0]) if len(lengths) else 0
        for start in range(0, self.num_rows, _CHECKED_ROWS):
            if (lengths[start : start + _CHECKED_ROWS] != self.seq_len).any():
                raise ArtefactError(
                    f"{path}.idx: its sequences differ in length, so they are no rows of training; tokenize documents instead"
                )
        self.tokens = JoinedFiles(_pieces(path), dtype)
        self.streams: Sequence[Stream] = [self.tokens]  # all rows one after the other; they do not overlap
        if not self.num_rows or self.tokens.num_bytes != self.num_rows * self.seq_len * dtype.itemsize:
            raise ArtefactError(
                f"{path}: its data has {self.tokens.num_bytes:,} bytes, its index needs {self.num_rows:,} rows of {self.seq_len:,} ids of "
                f"{dtype.itemsize} bytes; fetch all pieces again"
            )

    def rows_at(self, first: int, count: int) -> np.ndarray:
        """The rows at places first .. first + count - 1: the same numbers. Raises DataError after the last row."""
        if first + count > self.num_rows:
            raise DataError(f"{self.path}: row {first + count - 1:,} was asked for, it has {self.num_rows:,}: it is one epoch, in order")
        return np.arange(first, first + count)

    def places_of(self, rows: np.ndarray, last: int) -> np.ndarray:
        """Every place below `last` that holds one of these rows."""
        return np.sort(rows[rows < last])

    def row(self, number: int) -> Example:
        """One row; every token but the first counts."""
        return example(self.tokens[number * self.seq_len : (number + 1) * self.seq_len])

    def spans(self, number: int) -> list[Span]:
        """The part of the stream that a row is."""
        return [Span(number * self.seq_len, self.seq_len)]

    def rows_with(self, span: Span) -> np.ndarray:
        """The rows that hold a token of a span."""
        return np.arange(span.start // self.seq_len, min(self.num_rows - 1, (span.end - 1) // self.seq_len) + 1)

    def __call__(self, step: int) -> list[Group]:
        """The groups of step n."""
        return groups_at(self, step)


def _pieces(path: Path) -> list[Path]:
    """The data files in order. The number after `of` is that of the last piece, not how many there are."""
    whole = path.with_name(f"{path.name}.bin")
    if whole.exists():
        return [whole]
    found = {}
    for file in path.parent.glob("*.bin"):
        match = re.fullmatch(re.escape(path.name) + r"-(\d{5})-of-(\d{5})\.bin", file.name)
        if match:
            found[int(match[1])] = (file, int(match[2]))
    last = max((last for _, last in found.values()), default=0)
    missing = [number for number in range(last + 1) if number not in found]
    if missing:
        raise ArtefactError(f"{path}: there is no {whole.name}, and of its pieces 0 to {last} number {missing[0]} is missing")
    return [found[number][0] for number in range(last + 1)]
