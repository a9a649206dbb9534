"""Questions with choices: what is shown, and which line is the answer."""

import json

import pytest

from trivium.core.errors import DataError
from trivium.core.types import Message
from trivium.text.read import check_head, read_conversations, read_preferences, read_prompts

SHOWN, ANSWER = "q\n\nA. x\nB. y\nC. z", "B. y"
THREE = ["x", "y", "z"]
ARC = {"text": THREE, "label": ["1", "2", "3"]}
SHAPES = {
    "mmlu": ({"question": "q", "choices": THREE, "gold": 1, "subject": "s"}, SHOWN),
    "mmlu of the hub": ({"question": "q", "choices": THREE, "answer": 1}, SHOWN),
    "letter": ({"question": "q", "choices": THREE, "answerKey": "B"}, SHOWN),
    "arc": ({"question": "q", "choices": ARC, "answerKey": "2"}, SHOWN),
    "bbq": ({"context": "c", "question": "q", "ans0": "x", "ans1": "y", "ans2": "z", "label": 1}, f"c\n\n{SHOWN}"),
}


def write(folder, record):
    path = folder / "a.jsonl"
    path.write_text(json.dumps(record) + "\n")
    return path


@pytest.mark.parametrize("shape", SHAPES)
def test_choices_are_lettered_below_the_question_and_the_right_line_answers(tmp_path, shape):
    record, shown = SHAPES[shape]
    path = write(tmp_path, record)
    check_head(path, "conversations")
    [conversation] = read_conversations(path)
    assert conversation.messages == (Message("user", shown), Message("assistant", ANSWER))
    assert conversation.meta == {name: value for name, value in record.items() if name not in ("question", "context")}
    assert list(read_prompts(path)) == [(Message("user", shown),)]


def test_a_prompt_of_its_own_gets_no_choices(tmp_path):
    [conversation] = read_conversations(write(tmp_path, {"prompt": "q (a, b)", "choices": ["a", "b"], "answer": "a"}))
    assert conversation.messages == (Message("user", "q (a, b)"), Message("assistant", "a"))


def test_a_hidden_answer_gives_a_prompt_but_no_conversation(tmp_path):
    path = write(tmp_path, {"question": "q", "choices": THREE, "answerKey": ""})
    assert list(read_prompts(path)) == [(Message("user", SHOWN),)]
    with pytest.raises(DataError, match="'answerKey' is ''; it is the place of the right choice, 0 to 2, or one of: A, B, C"):
        list(read_conversations(path))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"gold": 3}, "'gold' is 3; it is the place of the right choice, 0 to 2"),
        ({"gold": -1}, "'gold' is -1"),
        ({"gold": True}, "'gold' is True"),
        ({}, "'gold' or 'answerKey' is missing"),
        ({"choices": ["x"], "gold": 0}, "has 1 choices; 2 to 26 can be lettered"),
        ({"choices": ["x", 2], "gold": 0}, r"'choices\[1\]' is a number"),
        ({"choices": "xy", "gold": 0}, "'choices' is text; a list of texts, or an object with the lists text and label"),
        ({"choices": {"text": ["x", "y"]}, "gold": 0}, "'choices' is an object; a list of texts, or"),
        ({"choices": {"text": ["x", "y"], "label": ["1"]}, "gold": 0}, "'choices' has 2 texts and 1 labels"),
        ({"choices": {"text": ["x", "y"], "label": ["1", 2]}, "gold": "3"}, r"'choices.label\[1\]' is a number"),
    ],
)
def test_wrong_choices_are_one_line_with_file_line_and_field(tmp_path, fields, problem):
    with pytest.raises(DataError, match=problem) as caught:
        list(read_conversations(write(tmp_path, {"question": "q", "choices": THREE, **fields})))
    assert str(caught.value).startswith(f"{tmp_path}/a.jsonl line 1: ")


@pytest.mark.parametrize(
    ("choices", "gold", "problem"),
    [
        ({"text": ["x", "y"], "label": ["1", "2"]}, {"label": 1}, "'label' is 1, a place or one of the labels 1, 2"),
        ({"text": ["x", "y"], "label": ["A", "A"]}, {"answerKey": "A"}, "has a label twice: A, A"),
    ],
)
def test_a_right_choice_that_may_be_either_is_refused(tmp_path, choices, gold, problem):
    (tmp_path / "a.jsonl").write_text(json.dumps({"question": "q", "choices": choices, **gold}))
    with pytest.raises(DataError, match=problem):
        list(read_conversations(tmp_path / "a.jsonl"))


def test_a_number_that_is_place_and_label_alike_is_taken(tmp_path):
    row = {"question": "q", "choices": {"text": ["x", "y"], "label": ["0", "1"]}, "label": 1}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    [conversation] = read_conversations(tmp_path / "a.jsonl")
    assert conversation.messages[-1].content == "B. y"


def test_a_megabyte_without_a_rubric_is_refused_in_linear_time(tmp_path):
    text = "###The instruction to evaluate:\nx\n\n###Response to evaluate:\ny" * 16_000
    (tmp_path / "a.jsonl").write_text(json.dumps({"chosen_instruction": text, "rejected_instruction": text}))
    with pytest.raises(DataError, match="Score Rubrics"):
        list(read_preferences(tmp_path / "a.jsonl"))
