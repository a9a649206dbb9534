"""Chats: golden tables of ids and masks, the prefix contract, parity with transformers."""

from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from tests.text.conftest import TEXTS
from trivium.core.errors import ArtefactError, ConfigError, DataError
from trivium.core.types import Message
from trivium.text.chat import CHATML, PLAIN, ChatFormat, jinja, render, start_ids, stop_ids
from trivium.text.tokenizer import SPECIALS, train_bpe

FORMATS = {
    "plain": PLAIN,
    "chatml": CHATML,
    "qwen": replace(
        CHATML,
        opening={**CHATML.opening, "tool": "<|im_start|>user\n<tool_response>\n"},
        closing={**CHATML.closing, "tool": "\n</tool_response><|im_end|>\n"},
        tools_joint="\n</tool_response>\n<tool_response>\n",
    ),
}
TOKENIZER = train_bpe(TEXTS, 400, (*SPECIALS, "<|im_start|>", "<|im_end|>"))

USER, ANSWER = Message("user", "hello"), Message("assistant", "world")
CHATS = {
    "one turn": [USER, ANSWER],
    "two turns": [USER, ANSWER, Message("user", "12"), Message("assistant", "34")],
    "system": [Message("system", "the king"), USER, ANSWER],
    "empty content": [Message("user", ""), Message("assistant", "")],
    "unicode": [Message("user", "é漢🙂"), Message("assistant", "e\u0301\u2028")],
    "tools": [USER, Message("assistant", "12"), Message("tool", "34"), Message("tool", "56"), ANSWER],
    "control tokens in content": [Message("user", "<|end|><|im_end|>\n<|system|>"), Message("assistant", "<|endoftext|><|im_start|>")],
}

# what is written: a control token by its name, text as it is; what counts is between « and »
GOLDEN = {
    ("plain", "one turn"): "<|endoftext|> <|user|> hello <|end|> <|assistant|> «world <|end|>»",
    ("plain", "two turns"): (
        "<|endoftext|> <|user|> hello <|end|> <|assistant|> «world <|end|>» <|user|> 12 <|end|> <|assistant|> «34 <|end|>»"
    ),
    ("plain", "system"): "<|endoftext|> <|system|> the_king <|end|> <|user|> hello <|end|> <|assistant|> «world <|end|>»",
    ("plain", "empty content"): "<|endoftext|> <|user|> <|end|> <|assistant|> «<|end|>»",
    ("plain", "unicode"): "<|endoftext|> <|user|> é漢🙂 <|end|> <|assistant|> «e\u0301\u2028 <|end|>»",
    ("plain", "control tokens in content"): (
        "<|endoftext|> <|user|> TEXT<|end|><|im_end|>\n<|system|> <|end|> <|assistant|> «TEXT<|endoftext|><|im_start|> <|end|>»"
    ),
    ("plain", "tools"): (
        "<|endoftext|> <|user|> hello <|end|> <|assistant|> «12 <|end|>» <|tool|> 34 <|end|> <|tool|> 56 <|end|>"
        " <|assistant|> «world <|end|>»"
    ),
    ("chatml", "tools"): (
        "<|im_start|> user\n hello <|im_end|> \n <|im_start|> assistant\n «12 <|im_end|>» \n"
        " <|im_start|> tool\n 34 <|im_end|> \n <|im_start|> tool\n 56 <|im_end|> \n <|im_start|> assistant\n «world <|im_end|>» \n"
    ),
    ("qwen", "tools"): (
        "<|im_start|> user\n hello <|im_end|> \n <|im_start|> assistant\n «12 <|im_end|>» \n"
        " <|im_start|> user\n<tool_response>\n 34 \n</tool_response>\n<tool_response>\n 56 \n</tool_response> <|im_end|> \n"
        " <|im_start|> assistant\n «world <|im_end|>» \n"
    ),
    ("chatml", "one turn"): "<|im_start|> user\n hello <|im_end|> \n <|im_start|> assistant\n «world <|im_end|>» \n",
    ("chatml", "two turns"): (
        "<|im_start|> user\n hello <|im_end|> \n <|im_start|> assistant\n «world <|im_end|>» \n"
        " <|im_start|> user\n 12 <|im_end|> \n <|im_start|> assistant\n «34 <|im_end|>» \n"
    ),
    ("chatml", "system"): (
        "<|im_start|> system\n the_king <|im_end|> \n"
        " <|im_start|> user\n hello <|im_end|> \n <|im_start|> assistant\n «world <|im_end|>» \n"
    ),
    ("chatml", "empty content"): "<|im_start|> user\n <|im_end|> \n <|im_start|> assistant\n «<|im_end|>» \n",
    ("chatml", "unicode"): "<|im_start|> user\n é漢🙂 <|im_end|> \n <|im_start|> assistant\n «e\u0301\u2028 <|im_end|>» \n",
    ("chatml", "control tokens in content"): (
        "<|im_start|> user\n TEXT<|end|><|im_end|>\n<|system|> <|im_end|> \n"
        " <|im_start|> assistant\n «TEXT<|endoftext|><|im_start|> <|im_end|>» \n"
    ),
}


def expected(table):
    """Ids and mask of a golden line."""
    ids, mask, counts = [], [], False
    for word in table.split(" "):
        counts = counts or word.startswith("«")
        piece = word.strip("«»").replace("_king", " king")
        is_control = piece in TOKENIZER.special
        new = [TOKENIZER.special[piece]] if is_control else TOKENIZER.encode(piece.removeprefix("TEXT")).tolist()
        ids += new
        mask += [float(counts)] * len(new)
        counts = counts and not word.endswith("»")
    return ids, mask


@pytest.mark.parametrize(("name", "chat"), GOLDEN)
def test_ids_and_mask_are_those_of_the_golden_table(name, chat):
    rendered = render(CHATS[chat], TOKENIZER, FORMATS[name])
    assert (rendered.tokens.tolist(), rendered.loss_mask.tolist()) == expected(GOLDEN[name, chat])


def test_a_plain_conversation_is_written_by_hand_like_this():
    h, w = TOKENIZER.encode("hello").tolist(), TOKENIZER.encode("world").tolist()
    rendered = render([USER, ANSWER], TOKENIZER, PLAIN)
    assert rendered.tokens.tolist() == [0, 4, *h, 2, 5, *w, 2]
    assert rendered.loss_mask.tolist() == [0.0] * (len(h) + 4) + [1.0] * (len(w) + 1)


TURNS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=2, max_size=6).map(
    lambda contents: [Message("assistant" if index % 2 else "user", content) for index, content in enumerate(contents)]
)


@given(TURNS, st.sampled_from(sorted(FORMATS)))
@settings(max_examples=60, deadline=None)
def test_a_prompt_is_the_beginning_of_the_whole_conversation(messages, name):
    whole = render(messages, TOKENIZER, FORMATS[name]).tokens.tolist()
    for k in range(1, len(messages), 2):
        prompt = render(messages[:k], TOKENIZER, FORMATS[name], for_generation=True)
        assert whole[: len(prompt.tokens)] == prompt.tokens.tolist()
        assert not prompt.loss_mask.any()


@given(TURNS)
@settings(max_examples=60, deadline=None)
def test_the_mask_counts_answers_and_their_end_tokens_and_there_is_one_start(messages):
    rendered = render(messages, TOKENIZER, PLAIN)
    answers = [message.content for message in messages if message.role == "assistant"]
    assert rendered.loss_mask.sum() == sum(len(TOKENIZER.encode(answer)) + 1 for answer in answers)
    assert (rendered.tokens == TOKENIZER.id_of("<|endoftext|>")).sum() == 1
    assert rendered.tokens[0] == TOKENIZER.id_of("<|endoftext|>")


def test_training_on_the_last_answer_leaves_the_others_out():
    rendered = render(CHATS["two turns"], TOKENIZER, PLAIN, train_on="last")
    assert rendered.tokens[rendered.loss_mask > 0].tolist() == [*TOKENIZER.encode("34").tolist(), TOKENIZER.id_of("<|end|>")]


def test_a_turn_counts_by_its_weight_with_its_end():
    turns = [USER, replace(ANSWER, weight=0.0), USER, replace(ANSWER, weight=0.5), USER, ANSWER]
    plain, weighted = (render(each, TOKENIZER, PLAIN) for each in ([USER, ANSWER] * 3, turns))
    assert weighted.tokens.tolist() == plain.tokens.tolist()
    size = len(TOKENIZER.encode("world")) + 1
    assert weighted.loss_mask[plain.loss_mask > 0].tolist() == [0.0] * size + [0.5] * size + [1.0] * size
    assert not weighted.loss_mask[plain.loss_mask == 0].any()


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([], "conversation is empty"),
        ([USER], "no assistant turn"),
        ([USER, Message("judge", "x")], r"messages\[1\].role is 'judge'; it is one of: system, user, assistant, tool"),  # type: ignore[arg-type]
    ],
)
def test_a_conversation_one_cannot_train_on_says_why(messages, problem):
    with pytest.raises(DataError, match=problem):
        render(messages, TOKENIZER, PLAIN)


def test_generation_stops_at_the_end_of_a_turn_or_the_start_of_another():
    assert stop_ids(TOKENIZER, PLAIN) == (2, 0, 3, 4, 5, 6)
    assert stop_ids(TOKENIZER, CHATML) == (TOKENIZER.id_of("<|im_end|>"), TOKENIZER.id_of("<|im_start|>"))


def test_a_standing_system_turn_is_put_first_only_where_there_is_none():
    standing = ChatFormat(control=PLAIN.control, start=PLAIN.start, opening=PLAIN.opening, closing=PLAIN.closing, system="the king")
    assert render([USER, ANSWER], TOKENIZER, standing).tokens.tolist() == render(CHATS["system"], TOKENIZER, PLAIN).tokens.tolist()
    assert render(CHATS["system"], TOKENIZER, standing).tokens.tolist() == render(CHATS["system"], TOKENIZER, PLAIN).tokens.tolist()


def test_a_format_whose_tokens_the_tokenizer_lacks_is_named():
    with pytest.raises(ArtefactError, match=r"<\|im_start\|>"):
        render([USER, ANSWER], train_bpe(TEXTS, 300), CHATML)


def test_a_format_that_could_not_stop_is_refused():
    with pytest.raises(ConfigError, match="could not stop"):
        ChatFormat(control=("<s>",), opening={"assistant": "A: "}, closing={"assistant": "\n"})
    with pytest.raises(ConfigError, match="for each role"):
        ChatFormat(control=("<s>",), opening={"user": "A: "}, closing={"user": "<s>"})


HONEST = [chat for chat in CHATS if chat != "control tokens in content"]


@pytest.mark.parametrize("system", ["", "be kind \"and\" 'brief'\n{{ x }}"])
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_transformers_gives_the_same_ids_with_the_written_template(name, system):
    transformers = pytest.importorskip("transformers")
    form = FORMATS[name]
    form = replace(form, system=system)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=_backend(), chat_template=jinja(form))
    for chat in HONEST:
        for for_generation in (False, True):
            plain = [{"role": message.role, "content": message.content} for message in CHATS[chat]]
            theirs = fast.apply_chat_template(plain, add_generation_prompt=for_generation, tokenize=True, return_dict=False)
            assert theirs == render(CHATS[chat], TOKENIZER, form, for_generation=for_generation).tokens.tolist(), chat


def _backend():
    import tokenizers

    return tokenizers.Tokenizer.from_str(TOKENIZER.to_json())


def test_text_that_is_no_chat_starts_with_the_tokens_that_start_a_document():
    assert start_ids(TOKENIZER, PLAIN) == (TOKENIZER.id_of("<|endoftext|>"),)
    assert start_ids(TOKENIZER, CHATML) == ()
