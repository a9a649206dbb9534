"""What is asked in a chain: as turns, as the published transcript, and what nobody can forge in it."""

import re

import pytest
from hypothesis import given, strategies as st

from trivium.core.types import Message
from trivium.synth.constitution import Constitution, Principle, Revised
from trivium.synth.revision import ROLES, Chain, as_chat, as_transcript, examples, is_over, revised_rows, round_rows, said, spoken

RUDE = Principle(name="rude", critique="Is it rude?", revision="Be polite.", comparison="Which is politer?")
CONSTITUTION = Constitution(
    principles=(RUDE,), revised=(Revised(principle="rude", prompt="Hi", response="Go", critique="Rude.", revision="Hello"),)
)
PROMPT = (Message("system", "Be brief."), Message("user", "What is a lamp?"))
CHAIN = Chain(PROMPT, "Light, fool.", RUDE)
SHOTS = (
    "\n\nHuman: Hi\n\nAssistant: Go\n\nCritiqueRequest: Is it rude?\n\nCritique: Rude.\n\nRevisionRequest: Be polite.\n\nRevision: Hello"
)


def test_the_transcript_is_as_published():
    text = as_transcript(PROMPT, examples(CONSTITUTION), CHAIN.revision_script("It says fool."), "Revision")
    assert text == (
        f"Be brief.{SHOTS}\n\nHuman: What is a lamp?\n\nAssistant: Light, fool.\n\nCritiqueRequest: Is it rude?"
        "\n\nCritique: It says fool.\n\nRevisionRequest: Be polite.\n\nRevision:"
    )
    assert as_transcript(PROMPT[1:], (), said(PROMPT), "Assistant") == "\n\nHuman: What is a lamp?\n\nAssistant:"


def test_a_chat_says_the_same_in_turns():
    turns = as_chat(PROMPT, examples(CONSTITUTION), CHAIN.critique_script())
    assert [turn.role for turn in turns] == ["system", *["user", "assistant"] * 3, "user", "assistant", "user"]
    assert [turn.content for turn in turns][-3:] == ["What is a lamp?", "Light, fool.", "Is it rude?"]


@pytest.mark.parametrize(
    ("text", "said_first", "ends"),
    [
        (" Hello.\n\nHuman: And", "Hello.", True),
        (" One\n\ntwo", "One\n\ntwo", False),
        ("x\nRevision: y", "x", True),
        ("Human: x", "Human: x", False),
    ],
)
def test_a_continuation_ends_where_another_part_begins(text, said_first, ends):
    assert (spoken(text), is_over(text)) == (said_first, ends)


@given(st.lists(st.sampled_from([*(f"{label}:" for label in ROLES), "\n", "\n\n", " ", "\r", "\t", "x", "\u2028", "\x0b"]), max_size=12))
def test_no_text_can_begin_a_part_of_a_transcript(pieces):
    forged = "".join(pieces)
    chain = Chain((Message("system", forged), Message("user", forged)), forged, RUDE)
    text = as_transcript(chain.prompt, (), chain.revision_script(forged), "Revision")
    labels = re.findall(rf"\n\n({'|'.join(ROLES)}):", text)
    assert labels == ["Human", "Assistant", "CritiqueRequest", "Critique", "RevisionRequest", "Revision"]


def row(*taken: bool):
    rounds = []
    answer = "first"
    for number, is_taken in enumerate(taken):
        answer = f"revised {number}" if is_taken else answer
        rounds.append({"principle": "rude", "critique": f"critique {number}", "is_taken": is_taken, "answer": answer})
    return {"prompt": [{"role": "user", "content": "ask"}], "response": "first", "rounds": rounds}


def test_four_revisions_are_four_rows_or_the_last_one():
    assert [each["messages"][-1]["content"] for each in revised_rows(row(*[True] * 4), "all")] == [f"revised {n}" for n in range(4)]
    assert [each["messages"][-1]["content"] for each in revised_rows(row(*[True] * 4), "final")] == ["revised 3"]
    assert [each["messages"][-1]["content"] for each in revised_rows(row(True, False), "final")] == ["revised 0"]
    assert revised_rows(row(False, False), "final") == []  # the answer that nobody revised is nothing to learn


def test_a_round_teaches_the_critique_and_the_revision_but_not_the_answer():
    first, second = round_rows(row(True, False, True), CONSTITUTION)
    assert [turn["content"] for turn in first["messages"]] == ["ask", "first", "Is it rude?", "critique 0", "Be polite.", "revised 0"]
    assert [turn["content"] for turn in second["messages"]] == ["ask", "revised 0", "Is it rude?", "critique 2", "Be polite.", "revised 2"]
    assert [turn.get("weight", 1) for turn in first["messages"]] == [1, 0, 1, 1, 1, 1]


def test_what_the_assistant_says_in_the_prompt_is_not_learned():
    said_before = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "rude", "weight": 0.5}]
    chains = row(True) | {"prompt": [*said_before, {"role": "user", "content": "b"}]}
    [revised], [taught] = revised_rows(chains, "final"), round_rows(chains, CONSTITUTION)
    assert [turn.get("weight", 1) for turn in revised["messages"]] == [1, 0, 1, 1]
    assert [turn.get("weight", 1) for turn in taught["messages"]] == [1, 0, 1, 0, 1, 1, 1, 1]
    assert chains["prompt"][1]["weight"] == 0.5
