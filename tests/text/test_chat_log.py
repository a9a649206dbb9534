"""Logs of chats: of one that grew only the longest is kept."""

from hypothesis import given, strategies as st

from trivium.core.types import Conversation, Message
from trivium.text.chat_log import longest_chats


def chat(*texts, **fields):
    return Conversation(tuple(Message("assistant" if index % 2 else "user", text) for index, text in enumerate(texts)), **fields)


def test_beginnings_and_copies_of_a_chat_go_whatever_their_order():
    short, long, copy, other = chat("q", "a"), chat("q", "a", "r", "b"), chat(" q", "a\n", "r", "b", weight=2.0), chat("q", "c")
    assert longest_chats([short, long, copy, other]) == [long, other]
    assert longest_chats([long, short, other, short]) == [long, other]


def test_a_turn_of_another_role_is_another_chat():
    system = Conversation((Message("system", "q"), Message("assistant", "a")))
    assert longest_chats([chat("q", "a"), system]) == [chat("q", "a"), system]


def test_the_bounds_of_turns_count():
    assert len(longest_chats([chat("a b", "c"), chat("a", "b c"), chat("a", "b")])) == 3
    assert longest_chats([]) == []


@given(st.lists(st.lists(st.sampled_from("ab"), min_size=1, max_size=4), max_size=12))
def test_it_keeps_exactly_the_chats_that_no_other_begins_with(said):
    kept = [[message.content for message in each.messages] for each in longest_chats([chat(*texts) for texts in said])]
    longest = [texts for texts in said if not any(len(other) > len(texts) and other[: len(texts)] == texts for other in said)]
    assert kept == [texts for index, texts in enumerate(longest) if texts not in longest[:index]]
