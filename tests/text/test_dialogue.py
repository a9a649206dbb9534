"""Dialogues in pages: what the rule of the paper accepts and what it does not."""

import pytest

from trivium.core.types import Document, Message
from trivium.text.dialogue import dialogues


def page(*speakers, gap="\n\n"):
    return gap.join(f"{speaker}line {index}" for index, speaker in enumerate(speakers))


def turns(text):
    return [conversation.messages for conversation in dialogues(Document(text, "id", "web"))]


@pytest.mark.parametrize("gap", ["\n\n", "\n", "\n \n\n"])
@pytest.mark.parametrize(
    ("first", "second"), [("Gopher: ", "User: "), ("Dr Smith - ", "Ann \u2014 "), ("Q. ", "A. "), ("Dr. Li: ", "Dr. Ek: ")]
)
def test_six_alternating_paragraphs_are_a_dialogue(first, second, gap):
    [conversation] = dialogues(Document(page(*[first, second] * 3, gap=gap), "id", "web"))
    assert conversation.messages == tuple(Message("assistant" if index % 2 else "user", f"line {index}") for index in range(6))
    assert conversation.meta == {"id": "id", "source": "web", "speakers": [first, second]}


@pytest.mark.parametrize(
    "speakers",
    [["A: ", "B: "] * 2 + ["A: "], ["A: "] * 8, ["A: ", "B: ", "C: "] * 3, ["A: ", "B: ", "A: ", "C: ", "A: ", "B: "], [""] * 9, []],
    ids=["five", "one speaker", "three speakers", "a third speaker", "no speakers", "empty"],
)
def test_anything_less_is_none(speakers):
    assert turns(page(*speakers)) == []


def test_only_the_run_counts_and_a_last_question_is_left_out():
    [found] = turns(page("", "", *["A: ", "B: "] * 3, "A: ", "", ""))
    assert [message.content for message in found] == [f"line {index}" for index in range(2, 8)]


def test_a_page_may_hold_several():
    assert [len(found) for found in turns(page(*["A: ", "B: "] * 3, "", *["C: ", "A: "] * 4))] == [6, 8]


def test_a_dialogue_after_a_monologue_is_found():
    [found] = turns(page(*["A: "] * 9, *["B: ", "A: "] * 3))
    assert len(found) == 6
    assert [message.role for message in found[:2]] == ["user", "assistant"]


def test_a_prefix_needs_words_after_it_and_is_short():
    assert turns("\n\n".join(["A:", "B:"] * 4)) == []
    assert turns(page(*["A" * 60 + ": ", "B" * 60 + ": "] * 4)) == []


def test_a_separator_within_what_is_said_is_text():
    [found] = turns("\n\n".join(f"Q. {asks}\n\nA. She said. Yes: him." for asks in ("What: who?", "Why - then?", "How. And who?")))
    assert [message.content for message in found[:5:2]] == ["What: who?", "Why - then?", "How. And who?"]
