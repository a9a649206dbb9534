"""Which rank reads what is a function of the groups: each once, balanced, and the same order of data however many ranks there are."""

import itertools

import numpy as np
import pytest

from trivium.core.types import example
from trivium.data.digest import digest_of
from trivium.data.share import EXACT_SHARES, cut, share
from trivium.data.sources import Corpus, Groups


def group(*lengths: int):
    return tuple(example(range(length)) for length in lengths)


def test_the_longest_go_first_to_whoever_has_least():
    groups = [group(3), group(9), group(2, 2), group(5), group(1)]
    assert share(groups, 0, 2) == [groups[0], groups[1]]  # 9, and then 3 to where 9 = 5 + 4 are, the first of equals
    assert share(groups, 1, 2) == [groups[2], groups[3], groups[4]]  # 5, 4 and 1


def test_rows_of_one_length_go_round():
    groups = [group(4) for _ in range(5)]
    assert [len(share(groups, rank, 3)) for rank in range(3)] == [2, 2, 1]
    assert share(groups, 0, 3)[1] is groups[3]


def test_one_process_has_all_in_their_order():
    groups = [group(3), group(9)]
    assert share(groups, 0, 1) is groups


def test_more_ranks_than_groups_leave_some_with_nothing():
    assert [len(share([group(2)], rank, 3)) for rank in range(3)] == [1, 0, 0]


def sources():
    tokens = np.arange(2000) % 50
    rows = Corpus(tokens, seq_len=16, rows_per_step=6, seed=3)
    uneven = Groups([group(1 + number % 13, 2) for number in range(40)], groups_per_step=7, seed=3, purpose="pairs")
    return {"rows": rows, "pairs": uneven}


@pytest.mark.parametrize(("before", "after"), list(itertools.product((1, 2, 3, 4), repeat=2)))
@pytest.mark.parametrize("kind", ["rows", "pairs"])
def test_the_order_is_the_same_when_the_number_of_ranks_changes(kind, before, after):
    """Steps 0 to 3 on so many ranks, 4 to 7 on so many others: each step's groups are those of one process, each of them once."""
    source = sources()[kind]
    for step in range(8):
        size, groups = (before if step < 4 else after), source(step)
        read = [each for rank in range(size) for each in share(source(step), rank, size)]
        assert sorted(digest_of([each]) for each in read) == sorted(digest_of([each]) for each in groups)


def test_the_parts_of_an_exact_step_stand_next_to_each_other_on_a_rank():
    """Part 2 of 4 is the third of one process, the first of the second of two ranks, and all of the third of four."""
    groups = sources()["pairs"](0)
    for size in (1, 2, 4):
        own = EXACT_SHARES // size
        parts = [share(groups, rank * own + number, size * own) for rank in range(size) for number in range(own)]
        assert [digest_of(part) for part in parts] == [digest_of(share(groups, number, EXACT_SHARES)) for number in range(EXACT_SHARES)]


def test_items_are_cut_where_the_sizes_say():
    assert cut("abcdef", [2, 0, 4]) == ["ab", "", "cdef"]
