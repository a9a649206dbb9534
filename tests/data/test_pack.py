"""Packing loses nothing, cuts nothing and mixes nothing up."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from trivium.core.errors import DataError
from trivium.core.types import Group, example
from trivium.data.best_fit import best_fit
from trivium.data.pack import empty_batch, in_full_rows, pack
from trivium.nn.batch import Batch

ROWS, LENGTH, PAD = 3, 12, 77


@st.composite
def group_lists(draw: st.DrawFn) -> list[Group]:
    """Groups of one to three examples with tokens that are all different, a mask and a column."""
    groups, token = [], 100
    for _ in range(draw(st.integers(1, 8))):
        items = []
        for length in draw(st.lists(st.integers(1, LENGTH), min_size=1, max_size=ROWS)):
            mask = draw(st.lists(st.sampled_from([0.0, 1.0, 0.5]), min_size=length, max_size=length))
            items.append(example(np.arange(token, token + length), mask, advantages=np.arange(token, token + length) / 8))
            token += length
        groups.append(tuple(items))
    return groups


def spans(batch: Batch) -> list[slice]:
    """Where each sequence lies among the flattened tokens."""
    sequence = batch.sequence_BL.flatten()
    starts = [int((sequence == number).nonzero()[0]) for number in range(batch.num_sequences)]
    return [slice(start, end + 1) for start, end in zip(starts, batch.last_N.tolist(), strict=True)]


@given(groups=group_lists())
@settings(deadline=None, max_examples=80)
def test_nothing_is_lost_and_everything_keeps_its_place(groups):
    batches = pack(groups, rows=ROWS, length=LENGTH, pad=PAD)
    items = iter([item for group in groups for item in group])
    for batch in batches:
        filled = 0
        for number, span in enumerate(spans(batch)):
            item = next(items)
            assert batch.tokens_BL.flatten()[span].tolist() == item.tokens.tolist()
            assert batch.loss_mask_BL.flatten()[span].tolist() == item.loss_mask.tolist()
            assert batch["advantages"].flatten()[span].tolist() == item.columns["advantages"].tolist()
            assert batch.position_BL.flatten()[span].tolist() == list(range(len(item.tokens)))
            assert (batch.sequence_BL.flatten()[span] == number).all()
            assert span.start // LENGTH == (span.stop - 1) // LENGTH  # one row
            filled += len(item.tokens)
        padding = batch.sequence_BL == batch.num_sequences
        assert int(padding.sum()) == batch.tokens_BL.numel() - filled
        assert batch.tokens_BL.shape[0] <= ROWS
        assert not padding.all(dim=1).any()  # no row is empty
        assert (batch.tokens_BL[padding] == PAD).all()
        assert not batch.loss_mask_BL[padding].any()
        assert not batch["advantages"][padding].any()
    assert next(items, None) is None


@given(groups=group_lists())
@settings(deadline=None, max_examples=80)
def test_groups_stay_whole_and_in_order(groups):
    batches = pack(groups, rows=ROWS, length=LENGTH)
    sizes = [size for batch in batches for size in torch.bincount(batch.group_N, minlength=batch.num_groups).tolist()]
    assert sizes == [len(group) for group in groups]
    assert all((batch.group_N.diff() >= 0).all() for batch in batches)


@given(groups=group_lists())
@settings(deadline=None, max_examples=80)
def test_what_is_scored_is_what_counts_and_never_the_first_of_a_sequence(groups):
    for batch in pack(groups, rows=ROWS, length=LENGTH):
        assert batch.scored_P.tolist() == batch.loss_mask_BL.flatten().nonzero().flatten().tolist()
        assert (batch.position_BL.flatten()[batch.scored_P] > 0).all()
        assert batch.is_packed == any(len(set(row[row < batch.num_sequences].tolist())) > 1 for row in batch.sequence_BL)


def test_the_first_token_never_counts_even_if_its_mask_says_so():
    item = example([1, 2, 3])
    item.loss_mask[0] = 1
    assert pack([(item,)], rows=1, length=3)[0].loss_mask_BL.tolist() == [[0, 1, 1]]


def test_first_fit_fills_the_first_row_with_room():
    [batch] = pack([(example([1] * size),) for size in (5, 6, 3, 2)], rows=2, length=8)
    assert batch.sequence_BL.tolist() == [[0, 0, 0, 0, 0, 2, 2, 2], [1, 1, 1, 1, 1, 1, 3, 3]]


@given(sizes=st.lists(st.integers(1, LENGTH), max_size=30))
@settings(deadline=None, max_examples=80)
def test_single_sequences_fill_the_rows_of_best_fit_and_none_is_lost(sizes):
    groups = [(example(np.arange(size) + 100 * number),) for number, size in enumerate(sizes)]
    ordered = in_full_rows(groups, LENGTH)
    assert sorted(map(id, ordered)) == sorted(map(id, groups))
    num_rows = 1 + int(best_fit(np.array(sizes), LENGTH).max()) if sizes else 1
    batches = pack(ordered, rows=ROWS, length=LENGTH)
    assert sum(batch.tokens_BL.shape[0] for batch in batches) <= num_rows
    assert len(batches) == -(-sum(batch.tokens_BL.shape[0] for batch in batches) // ROWS)


def test_rows_are_fuller_than_in_the_order_of_training():
    """In order: 5 5 | 6 | 7 | 7 | 6. By best fit: 7 5 | 7 5 | 6 6."""
    groups = [(example([1] * size),) for size in (5, 5, 6, 7, 7, 6)]
    assert [len(pack(order, rows=1, length=12)) for order in (groups, in_full_rows(groups, 12))] == [5, 3]


def test_pairs_and_what_fits_nowhere_are_left_in_their_order():
    pairs = [(example([1] * 3), example([1] * 5)), (example([1] * 9), example([1] * 2))]
    assert in_full_rows(pairs, LENGTH) is pairs
    assert in_full_rows([], LENGTH) == []
    too_long = [(example([1] * 2),), (example([1] * 13),)]
    assert in_full_rows(too_long, LENGTH) is too_long


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([13], r"a group of 1 examples \(13 tokens, the longest 13\) does not fit in 3 rows of 12"),
        ([9, 9, 9, 9], r"a group of 4 examples \(36 tokens, the longest 9\)"),
    ],
    ids=["a sequence longer than a row", "more sequences than rows"],
)
def test_a_group_that_fits_nowhere_is_refused_with_its_numbers(sizes, said):
    with pytest.raises(DataError, match=said):
        pack([(example([1, 2]),), tuple(example([1] * size) for size in sizes)], rows=ROWS, length=LENGTH)


def test_a_column_that_only_some_examples_have_is_named():
    with pytest.raises(DataError, match="'values' is in some examples"):
        pack([(example([1, 2], values=[0, 1]),), (example([1, 2]),)], rows=2, length=4)


def test_an_empty_batch_counts_nothing():
    batch = empty_batch(2, 5)
    assert (batch.num_sequences, batch.num_groups, len(batch.scored_P), batch.tokens_BL.shape) == (0, 0, 0, (2, 5))
    assert pack([], rows=2, length=5)[0].num_sequences == 0
