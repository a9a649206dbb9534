"""Byte-level BPE: exact round trips, no forged control ids, errors that help."""

import json

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings, strategies as st
from tokenizers import models, pre_tokenizers

from tests.text.conftest import TEXTS
from trivium.core.errors import ArtefactError, ConfigError, DataError
from trivium.text.tokenizer import SPECIALS, Tokenizer, train_bpe

SMALL = train_bpe(TEXTS, 320)
UNICODE = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.one_of(UNICODE, st.lists(st.sampled_from([*SPECIALS, " ", "\n", "1", "é", "e\u0301", "x"])).map("".join)))
@settings(max_examples=200, deadline=None)
def test_decode_undoes_encode_for_every_text(text):
    assert SMALL.decode(SMALL.encode(text)) == text


@given(st.lists(st.one_of(st.sampled_from(SPECIALS), UNICODE)).map("".join))
@settings(max_examples=100, deadline=None)
def test_no_text_becomes_a_control_id(text):
    assert not set(SMALL.encode(text).tolist()) & set(SMALL.special.values())


def test_control_tokens_come_first_in_the_documented_order():
    assert SMALL.special == {name: index for index, name in enumerate(SPECIALS)}
    assert (SPECIALS.index("<|endoftext|>"), SPECIALS.index("<|end|>"), SPECIALS.index("<|tool|>")) == (0, 2, 6)


def test_every_digit_is_a_token_of_its_own():
    assert len(SMALL.encode("2026")) == 4


def test_ids_are_int32_and_empty_text_has_none():
    assert SMALL.encode("hello").dtype == np.int32
    assert SMALL.encode("").shape == (0,)


def test_a_batch_is_encoded_like_its_texts_one_by_one():
    for text, ids in zip(TEXTS, SMALL.encode_batch(TEXTS), strict=True):
        assert ids.tolist() == SMALL.encode(text).tolist()


def test_training_twice_gives_the_same_tokenizer():
    assert train_bpe(TEXTS, 320).to_json() == SMALL.to_json()
    assert train_bpe(TEXTS, 321).fingerprint != SMALL.fingerprint


def test_a_saved_tokenizer_loads_from_its_file_and_from_its_folder(tmp_path):
    SMALL.save(tmp_path)
    SMALL.save(tmp_path / "other.json")
    for place in (tmp_path, tmp_path / "tokenizer.json", tmp_path / "other.json"):
        loaded = Tokenizer.load(place)
        assert loaded.fingerprint == SMALL.fingerprint
        assert loaded.encode("the <|end|>").tolist() == SMALL.encode("the <|end|>").tolist()


def test_decoding_shows_control_tokens_only_when_asked():
    ids = [SMALL.id_of("<|endoftext|>"), *SMALL.encode("hello"), SMALL.id_of("<|end|>")]
    assert SMALL.decode(ids) == "hello"
    assert SMALL.decode(ids, skip_special=False) == "<|endoftext|>hello<|end|>"


def test_an_unknown_control_token_gets_a_suggestion():
    with pytest.raises(ArtefactError, match=r"no control token '<\|ende\|>'; did you mean '<\|end\|>'"):
        SMALL.id_of("<|ende|>")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"version": 1}', '{"model": {"type": "BPE"}}'])
def test_a_damaged_file_is_one_line_that_names_it(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ArtefactError, match=r"tokenizer\.json: is not a tokenizer"):
        Tokenizer.load(tmp_path)


def test_a_missing_file_says_what_a_tokenizer_is(tmp_path):
    with pytest.raises(ArtefactError, match="there is no such file"):
        Tokenizer.load(tmp_path / "none.json")


def test_truncation_and_padding_of_a_foreign_file_are_switched_off(tmp_path):
    content = json.loads(SMALL.to_json())
    content["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert Tokenizer.load(tmp_path).encode("a b c d e").tolist() == SMALL.encode("a b c d e").tolist()


def test_a_tokenizer_whose_words_are_control_tokens_is_refused():
    backend = tokenizers.Tokenizer(models.WordLevel({"<s>": 0, "a": 1, "?": 2}, unk_token="?"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(["<s>", "?"])
    forging = Tokenizer(backend)
    assert forging.encode("a what").tolist() == [1, 2]
    with pytest.raises(ArtefactError, match="forge a turn"):
        forging.encode("a <s>")


def test_a_lone_surrogate_is_a_data_error():
    with pytest.raises(DataError, match="lone surrogate"):
        SMALL.encode("\ud800")
    with pytest.raises(DataError, match="lone surrogate"):
        train_bpe(["a \ud800"], 320)


def test_a_vocabulary_without_room_for_the_bytes_is_refused():
    with pytest.raises(ConfigError, match="at least 263 are needed"):
        train_bpe(TEXTS, 262)


@pytest.mark.parametrize("texts", [[], [""]])
def test_training_on_nothing_is_refused(texts):
    with pytest.raises(DataError, match="no text"):
        train_bpe(texts, 300)
