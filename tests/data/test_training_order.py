"""The order of training can be asked both ways, and nothing but the seed, the text and the sizes of rows and steps is in it."""

import hashlib
import tracemalloc

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings, strategies as st

from trivium.core.types import example
from trivium.data.digest import digest_of
from trivium.data.mix import Mix
from trivium.data.order import epoch_places, epoch_rows
from trivium.data.pack import pack
from trivium.data.share import share
from trivium.data.sources import Corpus, Span, TextSource
from trivium.data.training_order import TrainingOrder

STEPS = 12


def corpus(num_tokens: int = 200, *, first: int = 0, seed: int = 3, rows_per_step: int = 4) -> Corpus:
    return Corpus(np.arange(first, first + num_tokens), seq_len=7, rows_per_step=rows_per_step, seed=seed)


def mix(rows_per_step: int = 4) -> Mix:
    sources = {"a": corpus(200, seed=1), "b": corpus(90, first=1000, seed=2), "c": corpus(50, first=2000, seed=4)}
    return Mix(sources, {"a": 0.5, "b": 0.3, "c": 0.2}, rows_per_step=rows_per_step)


SOURCES = pytest.mark.parametrize("make", [corpus, mix])


def rows(source: TextSource, first: int, last: int) -> list[list[int]]:
    return [item.tokens.tolist() for step in range(first, last) for (item,) in source(step)]


@SOURCES
def test_a_row_and_a_batch_are_what_the_source_gives(make):
    order = TrainingOrder(make())
    for step in (0, 3, 9):
        assert order.batch(step).tolist() == rows(make(), step, step + 1)
        assert order.batch(step).tolist() == [order.row(step * 4 + number).tolist() for number in range(4)]


@SOURCES
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_what_all_ranks_read_is_an_exact_prefix(make, ranks):
    """Each rank is dealt every ranks-th row of each step; together, in order, they are the order of training."""
    source = make()
    order = TrainingOrder(source)
    dealt = [[[item.tokens for (item,) in share(source(step), rank, ranks)] for step in range(STEPS)] for rank in range(ranks)]
    union = np.array(dealt).transpose(1, 2, 0, 3).reshape(STEPS * 4, -1)
    assert union.tolist() == [order.row(place).tolist() for place in range(STEPS * 4)]


@SOURCES
@pytest.mark.parametrize("micro_batch_rows", [1, 3, 4])
def test_micro_batches_change_nothing(make, micro_batch_rows):
    source = make()
    for step in (0, 5):
        batches = pack(source(step), rows=micro_batch_rows, length=7)
        assert np.concatenate([batch.tokens_BL.numpy() for batch in batches]).tolist() == TrainingOrder(source).batch(step).tolist()


@SOURCES
@given(cuts=st.lists(st.integers(0, STEPS), min_size=3, max_size=3).map(sorted))
@settings(deadline=None, max_examples=20)
def test_three_resumes_at_any_cuts_read_what_one_go_reads(make, cuts):
    bounds = [0, *cuts, STEPS]
    chained = [row for first, last in zip(bounds, bounds[1:], strict=False) for row in rows(make(), first, last)]
    assert chained == rows(make(), 0, STEPS)


@SOURCES
def test_the_batch_size_groups_the_rows_and_does_not_order_them(make):
    assert rows(make(rows_per_step=6), 0, 8) == rows(make(rows_per_step=4), 0, 12)
    six, four = (TrainingOrder(make(rows_per_step=number)) for number in (6, 4))
    assert six.sha256(0, 8) == four.sha256(0, 12)


def test_the_hashes_by_hand():
    order = TrainingOrder(corpus())
    ids = np.concatenate([order.batch(step).ravel() for step in (2, 3)]).astype("<i4").tobytes()
    assert order.sha256(2, 4) == hashlib.sha256(ids).hexdigest()
    assert order.digest(2) == xxhash.xxh3_128_hexdigest(order.batch(2).astype("<i4").tobytes())
    assert digest_of([(example([1, 2]), example([3]))]) == xxhash.xxh3_128_hexdigest(np.array([1, 2, 3], "<i4").tobytes())


@SOURCES
def test_places_invert_rows(make):
    source, last = make(), 131
    order = source.rows_at(0, last)
    for row in range(source.num_rows):
        assert source.places_of(np.array([row]), last).tolist() == np.flatnonzero(order == row).tolist()
    some = np.array([0, 5, source.num_rows - 1])
    assert source.places_of(some, last).tolist() == np.flatnonzero(np.isin(order, some)).tolist()


@SOURCES
def test_rows_are_of_the_spans_they_say_and_hold_the_tokens_they_say(make):
    source = make()
    for row in range(source.num_rows):
        tokens = source.row(row).tokens
        for span in source.spans(row):
            assert tokens[span.at : span.at + span.length].tolist() == source.streams[span.stream][span.start : span.end].tolist()
    held = [{(span.stream, place) for span in source.spans(row) for place in range(span.start, span.end)} for row in range(source.num_rows)]
    for number, stream in enumerate(source.streams):
        for start, length in ((0, 1), (6, 1), (7, 1), (11, 13), (len(stream) - 3, 3)):
            wanted = {(number, place) for place in range(start, start + length)}
            expected = [row for row in range(source.num_rows) if held[row] & wanted]
            assert source.rows_with(Span(start, length, number)).tolist() == expected


@SOURCES
def test_a_phrase_is_found_at_the_steps_whose_rows_hold_it_whole(make):
    order = TrainingOrder(make())
    seen = np.stack([order.row(place) for place in range(STEPS * 4)])
    for phrase in ([8, 9, 10], [5, 6, 7], [0, 1], [13, 14, 15, 16]):
        windows = np.lib.stride_tricks.sliding_window_view(seen, len(phrase), axis=1)
        expected = np.flatnonzero((windows == phrase).all(-1).any(-1))
        assert order.find(np.array(phrase), STEPS).tolist() == expected.tolist()
    assert order.find(np.array([5, 5]), STEPS).tolist() == []


@given(n=st.integers(1, 50), last=st.integers(0, 200), seed=st.integers(0, 9), row=st.integers(0, 49))
@settings(deadline=None, max_examples=60)
def test_places_are_found_in_any_number_of_epochs(n, last, seed, row):
    order = epoch_rows(0, last, n, seed, "test")
    assert epoch_places(np.array([row % n]), last, n, seed, "test").tolist() == np.flatnonzero(order == row % n).tolist()


def test_a_billion_rows_take_no_memory():
    n = 10**9
    epoch_rows(0, 10, n, 1, "test")
    tracemalloc.start()
    rows_of_a_step = epoch_rows(n - 512, 1024, n, 1, "test")
    [place] = epoch_places(rows_of_a_step[:1], n, n, 1, "test")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert place == n - 512
    assert peak < 1 << 20
