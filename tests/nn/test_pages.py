"""Keys and values in pages are those in one piece; pages are shared, copied and given back."""

import numpy as np
import pytest
import torch

from tests.nn.tiny import VOCAB, tiny_config, tiny_model
from trivium.nn import pages
from trivium.nn.cache import Cache, visible
from trivium.nn.pages import PagedCache


@pytest.fixture(autouse=True)
def _pages_of_four(monkeypatch):
    monkeypatch.setattr(pages, "PAGE", 4)


def paged(rows: int = 3, length: int = 16, count: int = 12) -> PagedCache:
    return PagedCache(tiny_config(), rows, length, count, torch.float32)


def is_balanced(cache: PagedCache) -> bool:
    """Every page is free or held, and counted once for each row that holds it."""
    held = [page for row in cache.held for page in row]
    counts = np.bincount(held, minlength=len(cache.users))
    return bool((counts == cache.users).all()) and sorted([*cache.free, *set(held)]) == list(range(1, len(cache.users)))


def read(model, cache, tokens_BL: torch.Tensor, start: int, rows: list[int] | None = None) -> torch.Tensor:
    position = torch.arange(start, start + tokens_BL.shape[1]).expand(len(tokens_BL), -1)
    which = None if rows is None else torch.tensor(rows)
    with torch.no_grad():
        return model.trunk(tokens_BL, position, cache.move_to(position, rows_B=which, visible=16), cache)


@pytest.mark.parametrize("options", [{}, {"sliding_window": 3}, {"attention_softcap": 2.0}], ids=["full", "sliding", "bounded"])
def test_reading_from_pages_is_reading_from_one_piece(options):
    model = tiny_model(**options)
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, VOCAB, (3, 16)))
    whole, parts = Cache(model.config, 3, 16, torch.float32), PagedCache(model.config, 3, 16, 12, torch.float32)
    for row in (1, 0, 2):  # so that pages do not lie in order
        parts.begin(row, 16)
    for part in (slice(0, 5), slice(5, 6), slice(6, 16)):
        one, other = (read(model, cache, tokens[:, part], part.start) for cache in (whole, parts))
        assert torch.equal(one, other)


def test_rows_that_begin_alike_share_whole_pages_and_copy_the_rest():
    model, tokens = tiny_model(), torch.tensor([[1, 2, 3, 4, 5, 6, 7]])
    cache = paged(rows=2)
    cache.begin(0, 12)
    read(model, cache, tokens[:, :6], 0, [0])
    assert cache.begin(1, 9, source=0, shared=6) == 6
    assert cache.held[1][0] == cache.held[0][0]
    assert not set(cache.held[1][1:]) & set(cache.held[0])
    assert cache.users[cache.held[0][0]] == 2
    for row in (0, 1):  # each goes its own way
        own = torch.tensor([[7 + row]])
        alone = model.trunk(torch.cat((tokens[:, :6], own), dim=1), torch.arange(7)[None])[:, 6]
        torch.testing.assert_close(read(model, cache, own, 6, [row])[:, 0], alone, rtol=0, atol=1e-5)
    assert is_balanced(cache)


def test_a_row_that_begins_like_itself_keeps_its_pages():
    cache = paged(rows=1, count=4)
    cache.begin(0, 15)
    before = cache.held[0]
    cache.end(0)
    assert cache.begin(0, 13, source=0, shared=6) == 6
    assert cache.held[0][:2] == before[:2]
    assert is_balanced(cache)


def test_there_is_no_room_until_a_row_ends_and_then_its_pages_are_taken():
    cache = paged(rows=3, count=6)
    assert [cache.begin(0, 16), cache.begin(1, 8), cache.begin(2, 4)] == [0, 0, None]
    cache.end(0)
    assert cache.begin(2, 16) == 0
    assert cache.held[0] == []
    assert is_balanced(cache)


def test_a_source_that_ended_gives_its_pages_at_last():
    cache = paged(rows=2, length=16, count=4)
    cache.begin(0, 16)
    cache.end(0)
    assert cache.begin(1, 16, source=0, shared=7) == 0  # there is no page to copy the second one to
    assert cache.held[0] == []
    assert cache.begin(0, 4, source=1, shared=3) is None
    assert is_balanced(cache)


def test_a_source_whose_pages_are_gone_has_nothing_to_share():
    cache = paged(rows=3, count=5)
    cache.begin(0, 8)
    cache.end(0)
    cache.begin(1, 16)
    assert cache.begin(2, 4, source=0, shared=3) == 0
    assert is_balanced(cache)


def test_pages_are_neither_lost_nor_held_twice_whatever_happens():
    draw, cache, going = np.random.default_rng(0), paged(rows=5, length=24, count=13), set()
    for _ in range(500):
        row = int(draw.integers(5))
        if row in going:
            cache.end(row)
            going.remove(row)
        else:
            source = int(draw.integers(5))
            end = int(draw.integers(1, 25))
            has = cache.begin(row, end, source, int(draw.integers(0, end)))
            going |= set() if has is None else {row}
            assert has is None or len(cache.held[row]) == -(-end // 4)
        assert is_balanced(cache)
        assert going or cache.begin(0, 24) == 0  # one row always fits when no other is going


@pytest.mark.parametrize(("length", "count"), [(6, 12), (16, 3)])
def test_a_row_is_whole_pages_and_fits(length, count):
    with pytest.raises(ValueError, match="a row must be whole pages, and fit"):
        paged(length=length, count=count)


def test_few_sizes_are_looked_at():
    assert [visible(positions, 2000) for positions in (1, 256, 257, 512, 513, 1025, 2000)] == [256, 256, 512, 512, 1024, 2000, 2000]
    assert visible(5, 64) == 64
