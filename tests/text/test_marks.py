"""Marks of SentencePiece-like tokenizers: a conversation's ids are those of the whole text, though it is encoded piece by piece."""

import json

import pytest
import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers

from trivium.core.types import Message
from trivium.text.chat import CHATML, render
from trivium.text.tokenizer import Tokenizer
from trivium.text.tokenizer.marks import unmarked

TEXTS = ["the king and the queen said no to the ships", "who said what to whom?", "no ships for the king\n"] * 9
TALK = [Message("user", "who said no?"), Message("assistant", " the king"), Message("user", ""), Message("assistant", "the\nships")]
PREPEND = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])


def trained(normalizer=None, pre_tokenizer=None) -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    if normalizer is not None:
        made.normalizer = normalizer
    if pre_tokenizer is not None:
        made.pre_tokenizer = pre_tokenizer
    made.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    specials = ["<unk>", *(f"<0x{number:02X}>" for number in range(256))]
    made.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=330, special_tokens=specials, show_progress=False))
    content = json.loads(made.to_str())
    content["added_tokens"] = content["added_tokens"][:1]  # bytes are words, no tokens that somebody added
    made = tokenizers.Tokenizer.from_str(json.dumps(content))
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in CHATML.control])
    return made


KINDS = {
    "Prepend": (trained(PREPEND), False),
    "Metaspace, always": (trained(pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="always")), False),
    "Metaspace, first": (trained(pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="first")), True),
    "no mark": (trained(normalizers.Replace(" ", "\u2581")), False),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_conversation_has_the_ids_of_its_whole_text(name):
    backend, _ = KINDS[name]
    text = "".join(CHATML.opening[turn.role] + turn.content + CHATML.closing[turn.role] for turn in TALK)
    whole = tokenizers.Tokenizer.from_str(backend.to_str()).encode(text, add_special_tokens=False).ids
    assert render(TALK, Tokenizer(backend), CHATML).tokens.tolist() == whole


@pytest.mark.parametrize("name", KINDS)
def test_a_begun_turn_goes_on_where_the_opening_ends(name):
    backend, _ = KINDS[name]
    text = "".join(CHATML.opening[turn.role] + turn.content + CHATML.closing[turn.role] for turn in TALK[:1])
    whole = tokenizers.Tokenizer.from_str(backend.to_str()).encode(
        text + CHATML.opening["assistant"] + "the king", add_special_tokens=False
    )
    assert render(TALK[:1], Tokenizer(backend), CHATML, for_generation=True, begun="the king").tokens.tolist() == whole.ids


@pytest.mark.parametrize("name", KINDS)
def test_what_makes_marks_is_found_wherever_it_stands(name):
    backend, is_first_only = KINDS[name]
    plain, first_only = unmarked(backend.to_str())
    assert first_only == is_first_only
    assert (plain is None) == (name == "no mark")
    if plain is not None:
        assert unmarked(plain) == (None, False)
        tokens = tokenizers.Tokenizer.from_str(plain).encode("the king").tokens
        assert not tokens[0].startswith("\u2581")
        assert backend.encode("the king").tokens[0].startswith("\u2581")


def test_a_text_by_itself_keeps_its_mark():
    tokenizer = Tokenizer(KINDS["Prepend"][0])
    assert tokenizer.encode_after("nothing", "the king").tolist() == tokenizer.encode("the king").tolist()
    assert tokenizer.encode_after("text", "the king").tolist() != tokenizer.encode("the king").tolist()
    assert len(tokenizer.encode_after("text", "")) == 0
