"""Joined bytes are what the library decodes."""

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings, strategies as st
from tokenizers import decoders, models, pre_tokenizers

from trivium.text.tokenizer import Tokenizer, train_bpe
from trivium.text.tokenizer.pieces import decoder_of

TEXTS = ["the king of the land said: é 漢字 🙂 12 ships", "a user asks, an assistant answers\n\tand more"] * 4
TOKENIZER = train_bpe(TEXTS, 400)
TEXT = decoder_of(TOKENIZER)


@given(ids=st.lists(st.integers(0, TOKENIZER.vocab_size - 1), max_size=40))
@settings(deadline=None, max_examples=300)
def test_any_ids_give_the_text_of_the_library(ids):
    """Broken letters and control ids among them."""
    assert TEXT(np.array(ids, np.uint16)) == TOKENIZER.decode(ids)


@given(text=st.text(max_size=40))
@settings(deadline=None, max_examples=100)
def test_what_was_encoded_comes_back(text):
    assert TEXT(TOKENIZER.encode(text)) == text


def test_words_that_were_added_are_themselves():
    backend = tokenizers.Tokenizer.from_str(TOKENIZER.to_json())
    backend.add_tokens(["Ġhello é"])
    added = Tokenizer(backend)
    ids = np.array([added.vocab_size - 1, 300, 5])
    assert decoder_of(added)(ids) == added.decode(ids)


@pytest.mark.parametrize("decoder", [None, decoders.WordPiece()])
def test_other_models_decode_as_the_library_does(decoder):
    backend = tokenizers.Tokenizer(models.WordLevel({"the": 0, "king": 1}, "the"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    if decoder is not None:
        backend.decoder = decoder
    words = Tokenizer(backend)
    assert decoder_of(words)(np.array([0, 1])) == words.decode([0, 1])
