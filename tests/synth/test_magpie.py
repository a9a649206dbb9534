"""Where a user's turn ends, what leads to it, and what becomes of a conversation that is written."""

import pytest

from trivium.core.errors import ConfigError
from trivium.core.types import Message
from trivium.synth.magpie import CUT_OFF, EMPTY, NO_ANSWER, NO_ROOM, UNCLOSED, Draft, UserTurn, leads
from trivium.text.chat import CHATML, PLAIN, ChatFormat
from trivium.text.tokenizer import SPECIALS, train_bpe

TOKENIZER = train_bpe(["what is it? the answer [/INST] ### Response:"] * 4, 340, (*SPECIALS, "<|im_start|>", "<|im_end|>", "<s>", "</s>"))
INST = ChatFormat(
    control=("<s>", "</s>"), start="<s>", opening={"user": "[INST] ", "assistant": ""}, closing={"user": " [/INST]", "assistant": "</s>"}
)
ALPACA = ChatFormat(
    control=("</s>",), opening={"user": "### Instruction:\n", "assistant": "### Response:\n"}, closing={"user": "\n\n", "assistant": "</s>"}
)


def said(turn, text, *controls):
    """Feed a text token by token; what the turn is when it has ended, None if it has not."""
    tokens = [*TOKENIZER.encode(text).tolist(), *map(TOKENIZER.id_of, controls)]
    for end in range(1, len(tokens) + 1):
        if turn.is_over(tokens[:end]):
            return turn.text(tokens[:end])
    return None


@pytest.mark.parametrize(
    ("chat", "text", "controls", "expected"),
    [
        (PLAIN, " what is it?\nAnd why? ", ("<|end|>",), "what is it?\nAnd why?"),
        (CHATML, "what is it?", ("<|im_end|>",), "what is it?"),
        (CHATML, "what <|im_end|> is it?", (), None),  # seven characters, no token
        (INST, "what is it? [/INST]", (), "what is it?"),
        (INST, "what is it?", ("</s>",), "what is it?"),  # it ends as an answer does
        (ALPACA, "what is it?\n\nand why?\n\n### Response:", (), "what is it?\n\nand why?"),
        (PLAIN, "The sea is deep.", ("<|endoftext|>",), "The sea is deep."),  # a base model knows no other end
        (PLAIN, "what is it?", (), None),
    ],
)
def test_a_turn_of_the_user_ends_where_its_format_ends_it(chat, text, controls, expected):
    assert said(UserTurn.of(chat, TOKENIZER), text, *controls) == expected


def test_one_line_ends_with_the_first_line_that_says_something():
    turn = UserTurn.of(PLAIN, TOKENIZER, one_line=True)
    assert said(turn, "\n what is it?\nAnd why?") == "what is it?"
    assert said(turn, "what is it?", "<|end|>") == "what is it?"


def test_what_steers_a_query_stands_in_a_system_turn_that_answers_do_not_have():
    draft, domains = Draft(0, "sums"), {"sums": "You teach sums.", "": ""}
    assert leads(draft, domains, PLAIN) == (Message("system", "You teach sums."),)
    assert leads(Draft(1, ""), domains, PLAIN) == ()
    draft.hear("what is 1 + 1?", is_stopped=True)
    draft.answer("2", is_stopped=True)
    system, *turns = leads(draft, domains, PLAIN)
    assert system.content.startswith("You teach sums.\n")
    assert "Continue as the user" in system.content
    assert turns == draft.turns == [Message("user", "what is 1 + 1?"), Message("assistant", "2")]


def test_a_format_without_a_system_turn_cannot_be_steered():
    draft = Draft(0, "sums", [Message("user", "a"), Message("assistant", "b")])
    assert leads(draft, {"sums": ""}, INST) == tuple(draft.turns)
    with pytest.raises(ConfigError, match="domains: the model's chat template has no system turn"):
        leads(draft, {"sums": "You teach sums."}, INST)


@pytest.mark.parametrize(
    ("query", "answer", "fate"),
    [
        (("what is it?", False), None, UNCLOSED),
        (("", True), None, EMPTY),
        (("what is it?", True), ("it", False), CUT_OFF),
        (("what is it?", True), ("", True), NO_ANSWER),
        (("what is it?", True), ("it", True), ""),
    ],
)
def test_a_conversation_without_a_whole_query_and_answer_has_a_fate(query, answer, fate):
    draft = Draft(3, "")
    draft.hear(query[0], is_stopped=query[1])
    if answer:
        draft.answer(answer[0], is_stopped=answer[1])
    assert draft.fate == fate
    assert draft.is_over == bool(fate)
    assert draft.verdict == (fate if fate in (UNCLOSED, EMPTY) else None)  # of a query that was put there is nothing to say but good


def test_a_second_query_without_an_answer_is_left_out():
    draft = Draft(3, "", [Message("user", "what is it?"), Message("assistant", "it")])
    draft.hear("and why?", is_stopped=True)
    draft.answer("because", is_stopped=False)
    assert (draft.fate, draft.is_over, len(draft.turns)) == ("", True, 2)
    other = Draft(4, "", [Message("user", "what is it?"), Message("assistant", "it")])
    other.hear("and", is_stopped=False)
    assert (other.fate, other.is_over, len(other.turns)) == ("", True, 2)


def test_the_verdict_is_of_every_turn_of_the_user():
    turns = [Message("user", "what is it?"), Message("assistant", "it"), Message("user", "It was so."), Message("assistant", "Yes.")]
    assert Draft(0, "", turns[:2]).verdict is None
    assert Draft(0, "", turns).verdict == "asks for nothing"


def test_a_query_that_was_never_asked_is_no_instruction():
    draft = Draft(0, "")
    draft.end(NO_ROOM)
    assert draft.verdict == NO_ROOM
    draft = Draft(0, "")
    draft.hear("what is it?", is_stopped=True)
    draft.end(NO_ROOM)  # for an answer
    assert (draft.fate, draft.verdict) == (NO_ROOM, None)
