"""Best-fit rows: by hand, nothing lost, nothing twice, full, and a function of (seed, step)."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from trivium.core.errors import DataError
from trivium.core.types import Example
from trivium.data.best_fit import Pieces, best_fit
from trivium.data.documents import Documents
from trivium.data.pack import pack

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=60)


def source(lengths: list[int], seq_len: int, *, rows_per_step: int = 3, seed: int = 1) -> Documents:
    """Documents of these lengths; the id of a token is its place in the stream."""
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return Documents(np.arange(starts[-1]), starts, seq_len=seq_len, rows_per_step=rows_per_step, seed=seed)


def one_by_one(lengths: list[int], room: int) -> list[int]:
    """The room that rows have left, by the plain rule: longest first, each into the fullest row that it fits into."""
    left: list[int] = []
    for size in sorted(lengths, reverse=True):
        fitting = [number for number, space in enumerate(left) if space >= size]
        if not fitting:
            left.append(room)
            fitting = [len(left) - 1]
        left[min(fitting, key=lambda number: left[number])] -= size
    return sorted(left)


def test_the_fullest_row_with_room_is_taken():
    assert best_fit(np.array([3, 7, 2, 6, 1]), 10).tolist() == [0, 0, 1, 1, 1]


@given(lengths=LENGTHS, room=st.integers(30, 40))
@settings(deadline=None, max_examples=200)
def test_it_is_best_fit_decreasing(lengths, room):
    rows = best_fit(np.array(lengths), room)
    assert set(rows.tolist()) == set(range(rows.max() + 1))
    assert sorted(room - np.bincount(rows, weights=lengths)) == one_by_one(lengths, room)


def test_a_long_document_is_cut_into_pieces_that_share_a_token():
    pieces = Pieces.of(np.array([0, 9, 9, 10, 15]), 4)  # nine tokens, none, one, five; rows of four
    assert pieces.start_P.tolist() == [0, 3, 6, 9, 10, 13]
    assert pieces.length_P.tolist() == [4, 4, 3, 1, 4, 2]
    assert pieces.is_rest_P.tolist() == [False, True, True, False, False, True]


def test_a_row_by_hand():
    rows = source([6, 2], 4)  # 0 1 2 3, the rest 3 4 5, and 6 7
    assert rows.num_rows == 3
    found = {tuple(rows.row(number).tokens.tolist()): rows.row(number).loss_mask.tolist() for number in range(3)}
    assert found == {(0, 1, 2, 3): [0, 1, 1, 1], (3, 4, 5, 0): [0, 1, 1, 0], (6, 7, 0, 0): [0, 1, 0, 0]}


def test_a_rest_stands_first_and_its_first_token_is_known():
    rows = source([5, 2], 4)  # the rest of the first document, 3 4, shares a row with 5 6
    assert [rows.row(1).tokens.tolist(), rows.row(1).loss_mask.tolist()] == [[3, 4, 5, 6], [0, 1, 1, 1]]


@given(lengths=LENGTHS, seq_len=st.integers(2, 12), rows_per_step=st.integers(1, 4))
@settings(deadline=None, max_examples=100)
def test_an_epoch_holds_every_token_and_predicts_none_twice(lengths, seq_len, rows_per_step):
    rows = source(lengths, seq_len, rows_per_step=rows_per_step)
    steps = -(-rows.num_rows // rows_per_step)
    epoch = [item for step in range(steps) for (item,) in rows(step)][: rows.num_rows]
    predicted = sorted(int(token) for item in epoch for token in item.tokens[item.loss_mask > 0])
    assert len(predicted) == len(set(predicted))
    firsts = {int(item.tokens[0]) for item in epoch}  # of a row: seen, but nothing stands before them
    assert {*predicted} | firsts == set(range(sum(lengths)))
    begins = set(np.concatenate([[0], np.cumsum(lengths)]).tolist())
    assert set(range(sum(lengths))) - {*predicted} <= begins


def test_what_a_step_reads_is_a_function_of_seed_and_step():
    def tokens(rows: Documents, step: int) -> list[list[int]]:
        return [item.tokens.tolist() for (item,) in rows(step)]

    lengths = np.random.default_rng(1).integers(1, 20, 100).tolist()
    used = source(lengths, 16)
    for step in (9, 2, 0):
        used(step)
    for step in (0, 5, 40):
        assert tokens(used, step) == tokens(source(lengths, 16), step)
    assert tokens(used, 0) != tokens(source(lengths, 16, seed=2), 0)
    epochs = [used.rows_at(step * used.rows_per_step, used.rows_per_step).tolist() for step in (0, used.num_rows)]
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("seq_len", [128, 1024])
def test_rows_of_realistic_documents_are_full(seq_len):
    """Log-normal lengths, mean about 230 tokens and a long tail."""
    lengths = np.random.default_rng(1).lognormal(4.8, 1.1, 100_000).astype(int) + 2
    rows = Documents(np.zeros(1), np.concatenate([[0], np.cumsum(lengths)]), seq_len=seq_len, rows_per_step=1, seed=1)
    assert rows.filled > 0.99


def test_a_row_is_a_row_of_a_micro_batch_and_no_mask_is_needed():
    [batch] = pack(source([9, 4, 3, 12], 8)(0), rows=3, length=8)
    assert not batch.is_packed
    assert isinstance(source([3], 8).row(0), Example)


def test_no_documents_are_refused():
    with pytest.raises(DataError, match="no documents"):
        Documents(np.zeros(0), np.array([0]), seq_len=8, rows_per_step=1, seed=1)
