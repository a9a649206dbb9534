"""The order of data is a function: a bijection with an inverse, each row once an epoch, the same however it is asked."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from trivium.core.errors import DataError
from trivium.core.types import Group, example
from trivium.data.order import epoch_rows, permute
from trivium.data.sources import Corpus, Groups

SIZES = st.integers(1, 700)
STREAMS = st.integers(0, 2**63)


@given(n=SIZES, stream=STREAMS)
@settings(deadline=None, max_examples=60)
def test_permute_is_a_bijection_with_an_inverse(n, stream):
    there = permute(np.arange(n), n, stream)
    assert sorted(there) == list(range(n))
    assert permute(there, n, stream, inverse=True).tolist() == list(range(n))


@given(n=st.integers(1, 10**12), stream=STREAMS, data=st.data())
@settings(deadline=None, max_examples=60)
def test_permute_inverts_in_domains_too_large_to_list(n, stream, data):
    index = np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=20)))
    there = permute(index, n, stream)
    assert (there < n).all()
    assert permute(there, n, stream, inverse=True).tolist() == index.tolist()


def test_permute_looks_random():
    """Neighbours end up far apart, and every place is equally likely for the first row."""
    n = 1000
    assert np.abs(np.diff(permute(np.arange(n), n, 1))).mean() == pytest.approx(n / 3, rel=0.1)
    first = np.array([permute(np.array([0]), 4, stream)[0] for stream in range(2000)])
    assert ((np.bincount(first, minlength=4) - 500) ** 2 / 500).sum() < 16.3  # 99.9 % of chi-square, 3 degrees of freedom


@given(n=st.integers(1, 40), count=st.integers(1, 7), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_every_row_comes_once_an_epoch_in_steps_of_any_size(n, count, seed):
    """Rows in portions of `count` are the rows in one go, and each run of n of them holds all."""
    whole = epoch_rows(0, 3 * n, n, seed, "test")
    portions = np.concatenate([epoch_rows(first, count, n, seed, "test") for first in range(0, 3 * n, count)])
    assert portions[: 3 * n].tolist() == whole.tolist()
    assert all(sorted(whole[epoch * n : (epoch + 1) * n]) == list(range(n)) for epoch in range(3))


def test_epochs_seeds_and_purposes_have_orders_of_their_own():
    orders = [
        epoch_rows(*place, 50, 50, seed, purpose).tolist()
        for place, seed, purpose in (((0,), 1, "a"), ((50,), 1, "a"), ((0,), 2, "a"), ((0,), 1, "b"))
    ]
    assert all(one != other for number, one in enumerate(orders) for other in orders[:number])


@given(num_tokens=st.integers(10, 300), seq_len=st.integers(2, 9), rows_per_step=st.integers(1, 5))
@settings(deadline=None, max_examples=60)
def test_a_corpus_predicts_every_token_once_an_epoch(num_tokens, seq_len, rows_per_step):
    """All but the first token, which nothing comes before, and the rest at the end that fills no row."""
    source = Corpus(np.arange(num_tokens), seq_len=seq_len, rows_per_step=rows_per_step, seed=3)
    steps = -(-source.num_rows // rows_per_step)
    rows = [item for step in range(steps) for (item,) in source(step)][: source.num_rows]
    predicted = sorted(int(token) for item in rows for token in item.response)
    assert predicted == list(range(1, 1 + source.num_rows * (seq_len - 1)))
    assert num_tokens - 1 - len(predicted) < seq_len - 1
    assert all((np.diff(item.tokens) == 1).all() for item in rows)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_the_union_over_ranks_is_the_step(ranks):
    source = Corpus(np.arange(200), seq_len=5, rows_per_step=8, seed=1)
    rows = source.rows_at(6 * 8, 8)
    shares = [rows[rank::ranks].tolist() for rank in range(ranks)]
    assert sorted(sum(shares, [])) == sorted(rows.tolist())


def test_what_a_step_reads_does_not_depend_on_what_was_read_before():
    def source() -> Groups:
        return Groups([(example([1, number]),) for number in range(13)], groups_per_step=5, seed=1, purpose="demonstrations")

    used = source()
    for step in (9, 2, 0):
        used(step)
    for step in (0, 7, 3):
        assert [group[0].tokens.tolist() for group in used(step)] == [group[0].tokens.tolist() for group in source()(step)]


def test_groups_visit_all_once_an_epoch():
    source = Groups([(example([1, number]),) for number in range(10)], groups_per_step=5, seed=1, purpose="pairs")
    assert sorted(int(group[0].tokens[1]) for step in (2, 3) for group in source(step)) == list(range(10))


def test_too_little_text_is_refused_with_its_numbers():
    with pytest.raises(DataError, match="the corpus has 5 tokens, fewer than one row of 9"):
        Corpus(np.arange(5), seq_len=9, rows_per_step=1, seed=1)


def test_no_examples_are_refused_by_name():
    with pytest.raises(DataError, match="no pairs left"):
        Groups([], groups_per_step=1, seed=1, purpose="pairs")


def lists_of(lengths: list[int]) -> list[Group]:
    """One group for each length, told apart by its first token."""
    return [(example([number] + [9] * (length - 1)),) for number, length in enumerate(lengths)]


def read(source: Groups) -> list[list[int]]:
    """What each step of a source with an end reads."""
    return [[int(group[0].tokens[0]) for group in source(step)] for step in range(source.num_steps)]


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=20), portion=st.integers(1, 7), epochs=st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_epochs_read_every_group_so_often_and_only_the_last_step_is_short(lengths, portion, epochs):
    source = Groups(lists_of(lengths), groups_per_step=portion, epochs=epochs, seed=2, purpose="demonstrations")
    steps, n = read(source), len(lengths)
    order = sum(steps, [])
    assert [sorted(order[epoch * n : (epoch + 1) * n]) for epoch in range(epochs)] == [list(range(n))] * epochs
    assert len(order) == epochs * n
    assert {len(step) for step in steps[:-1]} <= {portion}
    assert 0 < len(steps[-1]) <= portion
    endless = Groups(lists_of(lengths), groups_per_step=portion, seed=2, purpose="demonstrations")
    assert [int(group[0].tokens[0]) for step in range(len(steps)) for group in endless(step)][: len(order)] == order


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=20), portion=st.integers(9, 40), epochs=st.integers(1, 4))
@settings(deadline=None, max_examples=80)
def test_a_portion_of_tokens_is_what_begins_within_it(lengths, portion, epochs):
    """The group at token o of the order of training is read in step o // portion; no step is empty, and none is lost."""
    source = Groups(lists_of(lengths), tokens_per_step=portion, epochs=epochs, seed=2, purpose="demonstrations")
    order = epoch_rows(0, epochs * len(lengths), len(lengths), 2, "demonstrations")
    expected: list[list[int]] = []
    begins = 0
    for row in order.tolist():
        while len(expected) <= begins // portion:
            expected.append([])
        expected[begins // portion].append(row)
        begins += lengths[row]
    assert all(expected)
    assert read(source) == expected
    again = Groups(lists_of(lengths), tokens_per_step=portion, epochs=epochs, seed=2, purpose="demonstrations")
    backwards = list(reversed(range(len(expected))))
    assert [again.first_place(step) for step in backwards] == [sum(map(len, expected[:step])) for step in backwards]


def test_an_epoch_may_be_cut_short():
    source = Groups(lists_of([1] * 10), groups_per_step=4, epochs=1.5, seed=1, purpose="pairs")
    assert [len(step) for step in read(source)] == [4, 4, 4, 3]
    assert [source.ends_epoch(step) for step in range(4)] == [False, False, True, False]


def test_the_step_that_reads_the_last_group_ends_the_epoch():
    source = Groups(lists_of([1] * 10), groups_per_step=5, seed=1, purpose="pairs")
    assert [source.ends_epoch(step) for step in range(4)] == [False, True, False, True]


@pytest.mark.parametrize("steps", [0, 1, 3, 7])
def test_groups_say_which_of_them_so_many_steps_read(steps):
    groups = [(example([number, number]),) for number in range(11)]
    source = Groups(groups, groups_per_step=4, seed=3, purpose="pairs")
    seen = {int(item.tokens[0]) for step in range(steps) for [item] in source(step)}
    assert source.read_within(steps).tolist() == sorted(seen)
