"""Transcripts of hh-rlhf: parsing loses nothing."""

from hypothesis import given, strategies as st

from trivium.core.types import Message
from trivium.text.records.hh import is_transcript, parse_transcript

SAID = st.text(st.sampled_from("ab :\n"), max_size=8).filter(lambda text: text == text.strip("\n"))


@given(st.lists(SAID, min_size=1, max_size=5))
def test_a_transcript_can_be_written_again_from_its_turns(said):
    names = ("Human", "Assistant")
    text = "".join(f"\n\n{names[index % 2]}: {content}" for index, content in enumerate(said))
    turns = parse_transcript(text)
    assert [turn.content for turn in turns] == said
    assert [turn.role for turn in turns] == [("user", "assistant")[index % 2] for index in range(len(said))]
    assert is_transcript(text)


def test_neighbouring_turns_of_one_speaker_are_joined():
    assert parse_transcript("\n\nHuman: a\n\nHuman: b\n\nAssistant:") == [Message("user", "a\n\nb"), Message("assistant", "")]


def test_a_marker_inside_a_line_is_text():
    assert parse_transcript("\n\nHuman: say Assistant: no") == [Message("user", "say Assistant: no")]
