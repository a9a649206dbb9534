"""The fast encoder gives what `tokenizers` gives, or is not used and says why."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from trivium.core.errors import DataError
from trivium.text.tokenizer import bpe, fast, train_bpe
from trivium.text.tokenizer.fast import DIFFICULT, fast_encoder

TEXTS = [
    "the old captain's ship sailed at 12:45 on the 3rd of May\n\n",
    "he said: don't! (twice)",
    "na\u00efve caf\u00e9s",
    "\u4f60\u597d 123",
] * 20


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe(TEXTS, 400)


@pytest.fixture
def gigatoken():
    return pytest.importorskip("gigatoken")


def encoder(tokenizer):
    found = fast_encoder(tokenizer.to_json(), tokenizer._encode, TEXTS)
    assert callable(found), found
    return found


def test_our_own_tokenizers_are_known_to_it(gigatoken, tokenizer):
    for mine, theirs in zip(encoder(tokenizer)([*DIFFICULT, *TEXTS]), tokenizer._encode([*DIFFICULT, *TEXTS]), strict=True):
        assert mine.dtype == np.int32
        assert mine.tolist() == theirs.tolist()


@settings(deadline=None, max_examples=200)
@given(st.lists(st.text(), max_size=5))
def test_any_text_gives_the_same_ids(tokenizer, texts):
    pytest.importorskip("gigatoken")
    for mine, theirs in zip(encoder(tokenizer)(texts), tokenizer._encode(texts), strict=True):
        assert mine.tolist() == theirs.tolist()


def test_a_long_batch_is_encoded_by_it_and_nothing_changes(gigatoken, tokenizer, monkeypatch):
    before = [ids.tolist() for ids in tokenizer.encode_batch(TEXTS)]
    monkeypatch.setattr(bpe, "_WORTH_CHARS", 1)
    fresh = train_bpe(TEXTS, 400)
    assert [ids.tolist() for ids in fresh.encode_batch(TEXTS)] == before
    assert callable(fresh._fast)
    assert fresh.why_slow is None
    monkeypatch.setattr(fast, "_RENEWED_CHARS", 100)
    assert [ids.tolist() for ids in fresh.encode_batch(TEXTS)] == before
    with pytest.raises(DataError, match="lone surrogate"):
        fresh.encode_batch(["fine", "half \ud800"])


def test_a_text_is_never_a_control_token(gigatoken, tokenizer, monkeypatch):
    monkeypatch.setattr(bpe, "_WORTH_CHARS", 1)
    fresh = train_bpe(TEXTS, 400)
    ids = fresh.encode_batch(["<|end|><|endoftext|>"])[0]
    assert callable(fresh._fast)
    assert not set(ids.tolist()) & set(fresh.special.values())


def test_other_ids_are_told_and_it_is_not_used(tokenizer, monkeypatch):
    class Wrong:
        def encode_batch(self, texts):
            ids = [[7] * (text == "he said: don't! (twice)") for text in texts]
            offsets = np.cumsum([0, *map(len, ids)])
            content = SimpleNamespace(data=np.array(sum(ids, []), np.uint32))
            return SimpleNamespace(layout=SimpleNamespace(offsets=offsets, content=content))

    tokenizers = SimpleNamespace(from_json=lambda _: Wrong())
    monkeypatch.setitem(sys.modules, "gigatoken", SimpleNamespace(Tokenizer=tokenizers))
    assert fast_encoder(tokenizer.to_json(), tokenizer._encode, TEXTS) == "gigatoken gives other ids than tokenizers for ' '"


def test_without_the_package_the_reason_is_one_line(tokenizer, monkeypatch):
    monkeypatch.setitem(sys.modules, "gigatoken", None)
    assert fast_encoder(tokenizer.to_json(), tokenizer._encode, TEXTS) == "gigatoken is not installed"


@pytest.mark.parametrize("text", ["a" * 1_000_000, "\0" * 100_000, " " * 1_000_000, "\u0301" * 300_000])
def test_long_runs_of_one_letter_come_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text
