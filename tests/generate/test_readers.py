"""Where keys and values lie, what is said of it, and that a reader's memory goes when it does."""

import gc
import weakref

import numpy as np
import pytest
import torch

from tests.nn.tiny import VOCAB, tiny_config, tiny_model
from trivium.core.errors import ResourceError
from trivium.generate import readers
from trivium.generate.engine import Engine
from trivium.generate.readers import ModuleReader, Piece, cache_within
from trivium.generate.sampling import Sampling
from trivium.nn.cache import Cache, cache_bytes
from trivium.nn.pages import PAGE, PagedCache

PROMPTS = [np.arange(length) % VOCAB for length in (3, 9)]


def test_whole_rows_if_they_fit_else_pages_else_what_is_missing():
    model, row = tiny_model(), cache_bytes(tiny_config(), 128, torch.float32)
    assert row == 2 * 2 * 1 * 4 * 128 * 4
    assert isinstance(cache_within(5 * row, model, 4, 128), Cache)
    paged = cache_within(3 * row, model, 4, 128)
    assert isinstance(paged, PagedCache)
    assert (len(paged.users), paged.table.shape) == (3 * 128 // PAGE, (4, 3))
    assert sum(stored.numel() * 4 for stored in (paged.keys, paged.values)) == 3 * row
    with pytest.raises(ResourceError, match="one row of 128 positions take 0.00 GiB, and there is room for 0.00; lower max_new_tokens"):
        cache_within(row, model, 4, 128)


def test_how_it_works_is_told_once_with_what_is_slower(monkeypatch):
    told = []
    engine = Engine(tiny_model(), stop_ids=(), kernels="torch", log=told.append)
    for _ in range(2):
        engine.generate(PROMPTS, Sampling(max_new_tokens=2), seed=1)
    engine.generate(PROMPTS, Sampling(max_new_tokens=50), seed=1)
    assert told == ["sampling with torch on cpu: steps of any shape, since there are no CUDA graphs on cpu"]
    monkeypatch.setattr(readers, "free_bytes", lambda _: 8 * cache_bytes(tiny_config(), 64, torch.float32))
    paged = Engine(tiny_model(), stop_ids=(), kernels="torch", rows=4, log=told.append)
    paged.generate(PROMPTS * 2, Sampling(max_new_tokens=2), seed=1)
    assert "keys and values in pages, which is slower" in told[1]


def test_an_interrupted_answer_leaves_no_pages_behind(monkeypatch):
    monkeypatch.setattr(
        readers, "cache_within", lambda _, model, rows, length: PagedCache(model.config, rows, length, length // PAGE, torch.float32)
    )
    engine = Engine(tiny_model(), stop_ids=(), kernels="torch", rows=2)

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.generate(PROMPTS, Sampling(max_new_tokens=5), seed=1, on_token=interrupt)
    assert len(engine.generate(PROMPTS, Sampling(max_new_tokens=5), seed=1)) == 2


def test_pieces_of_any_lengths_are_answered_in_their_order(monkeypatch):
    model, tokens = tiny_model(), np.random.default_rng(0).integers(0, VOCAB, (5, 30))
    lengths = [30, 1, 7, 1, 20]
    pieces = [Piece(row, 0, tokens[row, :length].tolist(), row != 2) for row, length in enumerate(lengths)]
    found = [ModuleReader(model, 5, 30).read(pieces)]
    monkeypatch.setattr(readers, "why_not_fixed", lambda _: None)
    found.append(ModuleReader(model, 5, 30).read(pieces))
    for row, place in ((0, 0), (1, 1), (3, 2), (4, 3)):
        text = torch.from_numpy(tokens[row, : lengths[row]])[None]
        with torch.no_grad():
            exact = model.trunk.logits(model.trunk(text, torch.arange(lengths[row])[None]))[0, -1]
        for logits in found:
            torch.testing.assert_close(logits[place], exact, rtol=0, atol=1e-5)


def test_a_readers_memory_goes_when_it_does(monkeypatch):
    """Not when Python next looks for circles: the reader that takes its place needs the memory."""
    monkeypatch.setattr(readers, "why_not_fixed", lambda _: None)
    reader = ModuleReader(tiny_model(), 2, 16)
    reader.read([Piece(0, 0, [1], True)])
    keys = weakref.ref(reader._cache.keys)
    gc.disable()
    try:
        del reader
        assert keys() is None
    finally:
        gc.enable()
