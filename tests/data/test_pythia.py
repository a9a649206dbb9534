"""Pythia's published order, in miniature: rows as they are stored, whatever the pieces they were cut into."""

import struct
from pathlib import Path

import numpy as np
import pytest

from trivium.core.errors import ArtefactError, DataError
from trivium.data.pythia import PythiaRows
from trivium.data.training_order import TrainingOrder

ROWS, LENGTH = 12, 9
TOKENS = np.random.default_rng(1).integers(0, 50_277, (ROWS, LENGTH)).astype("<u2")


def write(folder: Path, *, cuts: tuple[int, ...] = (), lengths: list[int] | None = None, name: str = "document") -> Path:
    """An index and its data, cut at these bytes; without cuts in one file."""
    lengths = lengths or [LENGTH] * ROWS
    pointers = np.cumsum([0, *lengths[:-1]]) * 2
    header = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 8, len(lengths), len(lengths) + 1)
    parts = (np.array(lengths, "<i4"), pointers.astype("<i8"), np.arange(len(lengths) + 1, dtype="<i8"))
    (folder / f"{name}.idx").write_bytes(header + b"".join(part.tobytes() for part in parts))
    content, bounds = TOKENS.tobytes(), [0, *cuts, TOKENS.nbytes]
    for number, (first, last) in enumerate(zip(bounds, bounds[1:], strict=False)):
        file = f"{name}-{number:05}-of-{len(cuts):05}.bin" if cuts else f"{name}.bin"
        (folder / file).write_bytes(content[first:last])
    return folder / name


@pytest.mark.parametrize("cuts", [(), (90,), (7, 8, 101), (18, 18, 36)])
def test_rows_and_steps_are_as_stored(tmp_path, cuts):
    source = PythiaRows(write(tmp_path, cuts=cuts), rows_per_step=4)
    assert (source.num_rows, source.seq_len, len(source.tokens)) == (ROWS, LENGTH, TOKENS.size)
    order = TrainingOrder(source)
    for step in range(3):
        assert order.batch(step).tolist() == TOKENS[step * 4 : step * 4 + 4].tolist()
    assert [item.loss_mask.tolist() for (item,) in source(0)] == [[0] + [1] * (LENGTH - 1)] * 4
    for start, end in ((0, 0), (0, 1), (3, 4), (3, 50), (44, 46), (100, 108), (107, 200), (9, 3)):
        assert source.tokens[start:end].tolist() == TOKENS.ravel()[start:end].tolist()


def test_the_name_of_the_deduplicated_pile_is_read_too(tmp_path):
    path = write(tmp_path, cuts=(50, 100), name="pile_0.87_deduped_text_document")
    assert PythiaRows(path, rows_per_step=4).row(11).tokens.tolist() == TOKENS[11].tolist()


def test_pythias_batches_have_1024_rows(tmp_path):
    assert PythiaRows(write(tmp_path)).rows_per_step == 1024


def test_a_phrase_is_found_in_its_row_but_not_over_the_border_of_two(tmp_path):
    order = TrainingOrder(PythiaRows(write(tmp_path, cuts=(31, 77)), rows_per_step=4))
    assert order.find(TOKENS[5, 2:7], 3).tolist() == [5]
    assert order.find(TOKENS.ravel()[LENGTH - 2 : LENGTH + 2], 3).tolist() == []
    assert order.find(TOKENS[5, 2:7], 1).tolist() == []


def test_it_ends_after_its_last_row(tmp_path):
    with pytest.raises(DataError, match="row 15 was asked for, it has 12: it is one epoch, in order"):
        PythiaRows(write(tmp_path), rows_per_step=4)(3)


def test_a_missing_or_short_piece_is_named(tmp_path):
    path = write(tmp_path, cuts=(50, 100))
    (tmp_path / "document-00001-of-00002.bin").rename(tmp_path / "away")
    with pytest.raises(ArtefactError, match="of its pieces 0 to 2 number 1 is missing"):
        PythiaRows(path)
    (tmp_path / "document-00001-of-00002.bin").write_bytes(b"1234")
    with pytest.raises(ArtefactError, match="its data has 170 bytes, its index needs 12 rows of 9 ids"):
        PythiaRows(path)


def test_no_data_and_no_index_are_named(tmp_path):
    with pytest.raises(ArtefactError, match=r"document\.idx: there is no such file"):
        PythiaRows(tmp_path / "document")
    path = write(tmp_path)
    (tmp_path / "document.bin").unlink()
    with pytest.raises(ArtefactError, match=r"there is no document\.bin, and of its pieces 0 to 0 number 0 is missing"):
        PythiaRows(path)


def test_documents_of_different_lengths_are_no_rows(tmp_path):
    with pytest.raises(ArtefactError, match="its sequences differ in length"):
        PythiaRows(write(tmp_path, lengths=[LENGTH] * (ROWS - 2) + [LENGTH - 1, LENGTH + 1]))


@pytest.mark.parametrize("place", [0, 12, 20, 36])
def test_a_damaged_index_is_refused(tmp_path, place):
    path = write(tmp_path)
    content = bytearray((tmp_path / "document.idx").read_bytes())
    content[place] ^= 4
    (tmp_path / "document.idx").write_bytes(content)
    with pytest.raises(ArtefactError, match="document"):
        PythiaRows(path)
