"""A tokenizer for the tests of this room."""

import pytest

from trivium.text.tokenizer import SPECIALS, Tokenizer, train_bpe

TEXTS = ["the king of the land said that the people have 12 ships and 340 horses", "a user asks, an assistant answers: hello world"] * 4


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """400 ids, with the control tokens of both chat formats."""
    return train_bpe(TEXTS, 400, (*SPECIALS, "<|im_start|>", "<|im_end|>"))
