"""Texts with questions, as the sets of reading comprehension spell them."""

import json

import pytest

from trivium.core.errors import DataError
from trivium.text.read import check_head, read_readings
from trivium.text.records.readings import Pair

SHAPES = {
    "own": ({"context": "t", "pairs": [{"question": "q", "answer": "a"}]}, [("q", "a")]),
    "boolq": ({"passage": "t", "question": "q", "answer": True}, [("q", "yes")]),
    "boolq no": ({"passage": "t", "question": "q", "answer": False}, [("q", "no")]),
    "squad of the hub": ({"context": "t", "question": "q", "answers": {"text": ["a", "b"], "answer_start": [0, 1]}}, [("q", "a")]),
    "squad 2 without an answer": ({"context": "t", "question": "q", "answers": {"text": [], "answer_start": []}}, []),
    "nq": ({"document": "t", "question": "q", "answer": ["a", "b"]}, [("q", "a")]),
    "number": ({"passage": "t", "question": "q", "answer": 12}, [("q", "12")]),
    "race": ({"article": "t", "question": "q", "options": ["x", "y"], "answer": "B"}, [("q\n\nA. x\nB. y", "B. y")]),
    "choices": ({"context": "t", "question": "q", "choices": ["x", "y"], "gold": 0}, [("q\n\nA. x\nB. y", "A. x")]),
    "coqa": ({"story": "t", "questions": ["q", "r"], "answers": {"input_text": ["a", "b"]}}, [("q", "a"), ("r", "b")]),
    "squad": (
        {"version": "2.0", "data": [{"title": "x", "paragraphs": [{"context": "t", "qas": [
            {"question": "q", "id": "1", "answers": [{"text": "a", "answer_start": 0}]},
            {"question": "r", "id": "2", "is_impossible": True, "answers": []},
        ]}]}]},
        [("q", "a")],
    ),
    "squad's article": ({"title": "x", "paragraphs": [{"context": "t", "qas": [{"question": "q", "answer": "a"}]}]}, [("q", "a")]),
}  # fmt: skip


def write(folder, *records):
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_gives_its_pairs(tmp_path, shape):
    record, pairs = SHAPES[shape]
    path = write(tmp_path, record)
    check_head(path, "readings")
    [found] = read_readings(path)
    assert found.context == "t"
    assert found.pairs == tuple(Pair(*pair) for pair in pairs)
    assert found.source == str(path)


def test_neighbours_of_one_text_are_one_reading_with_each_question_once(tmp_path):
    rows = [{"passage": text, "question": asked, "answer": said} for text, asked, said in ("taq", "tbq", "tar", "ucq", "tdq")]
    found = list(read_readings(write(tmp_path, *rows)))
    assert [(each.context, [pair.question for pair in each.pairs]) for each in found] == [("t", ["a", "b"]), ("u", ["c"]), ("t", ["d"])]
    assert found[0].pairs[0].answer == "q"


def test_what_is_known_besides_is_kept(tmp_path):
    [found] = read_readings(write(tmp_path, {"context": "t", "pairs": [], "id": 7, "source": "s", "year": 1999}))
    assert (found.source, found.meta) == ("s", {"id": "7", "year": 1999})


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"question": "q", "answer": "a"}, r"line 1: 'context' \(or passage, .*\) is missing"),
        ({"context": "t", "answer": "a"}, "line 1: 'question' is missing"),
        ({"context": "t", "question": "q"}, "line 1: 'answer' or 'answers' is missing"),
        ({"context": " ", "question": "q", "answer": "a"}, "line 1: its text is empty"),
        ({"context": "t", "pairs": "x"}, "line 1: 'pairs' is text; a list is expected"),
        ({"context": "t", "pairs": [{"question": "q"}]}, r"line 1: 'pairs\[0\]' is an object without question or answer"),
        ({"context": "t", "pairs": [{"question": 3, "answer": "a"}]}, r"line 1: 'pairs\[0\].question' is a number"),
        ({"context": "t", "questions": ["q"], "answers": ["a", "b"]}, "line 1: has 1 questions and 2 answers"),
        ({"context": "t", "question": "q", "answer": None}, "line 1: 'answer' is null"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, r"line 1: 'data\[0\].paragraphs\[0\]' is an object without a context"),
        ({"data": [3]}, r"line 1: 'data\[0\].paragraphs' is null; a list is expected"),
    ],
)
def test_a_bad_row_is_one_line_that_names_its_place(tmp_path, record, problem):
    with pytest.raises(DataError, match=problem):
        list(read_readings(write(tmp_path, record)))


def test_an_evaluation_set_is_no_training_data():
    with pytest.raises(DataError, match="boolq: this asset holds no readings"):
        list(read_readings("boolq"))
