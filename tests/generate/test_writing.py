"""Text as it comes: whole characters, and nothing of what ends it."""

import pytest

from tests.nn.io_models import TOKENIZER
from trivium.generate.writing import Writer

TEXT = "the king said: naïve 日本語 🙂🙂 hello world"


def written(text: str, stop=()) -> tuple[list[str], Writer]:
    writer = Writer(TOKENIZER, stop)
    pieces = []
    for token in TOKENIZER.encode(text).tolist():
        pieces.append(writer.add(token))
        if writer.is_over:
            break
    return [*pieces, writer.rest()], writer


def test_pieces_are_whole_characters_and_together_the_text():
    pieces, writer = written(TEXT)
    assert "".join(pieces) == TEXT
    assert not any("\ufffd" in piece for piece in pieces)
    assert not writer.is_over


@pytest.mark.parametrize("stop", [["king"], ["g s"], ["world", "本"], ["🙂🙂"], ["d"], ["the"]])
def test_a_stop_text_is_never_shown_wherever_tokens_end(stop):
    pieces, writer = written(TEXT, stop)
    assert "".join(pieces) == TEXT[: min(TEXT.index(each) for each in stop if each in TEXT)]
    assert writer.is_over


def test_what_only_begins_like_a_stop_text_is_shown_at_the_end():
    pieces, writer = written("hello wor", ["world"])
    assert "".join(pieces) == "hello wor"
    assert pieces[-1] == "wor"
    assert not writer.is_over


def test_bytes_that_never_become_a_character_do_not_hold_the_rest_back():
    half = TOKENIZER.encode("🙂").tolist()[:2]
    writer = Writer(TOKENIZER)
    text = "".join(writer.add(token) for token in [*half, *TOKENIZER.encode(" hello").tolist()])
    assert text.endswith("hello")
    assert "\ufffd" in text


def test_a_stop_text_in_what_was_held_back_ends_it_too():
    """The last token has the stop text and a part of a character, so it is first read when the answer ends."""
    writer = Writer(TOKENIZER, ["world"])
    pieces = [writer.add(token) for token in [*TOKENIZER.encode("hello worl").tolist(), *TOKENIZER.encode("d").tolist()]]
    assert "".join(pieces) == "hello "
    assert (writer.is_over, writer.size) == (True, len("hello "))
    writer = Writer(Halves(), ["d"])
    assert writer.add(0) == ""
    assert writer.rest() == "worl"
    assert (writer.is_over, writer.size) == (True, len("worl"))


class Halves:
    """One token, which is a word and the beginning of a character."""

    def decode(self, ids) -> str:
        return "world\ufffd" * len(ids)
