import json

import pytest

from trivium.core.errors import DataError
from trivium.core.types import Message, Solution
from trivium.text.read import check_head, is_preferences, is_solutions, read_solutions

ASKED = (Message("user", "q"),)


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def one(tmp_path, row, **options):
    path = write(tmp_path / "x.jsonl", row)
    assert is_solutions(path)
    assert not is_preferences(path)
    return list(read_solutions(path, **options))


@pytest.mark.parametrize(
    ("row", "labels"),
    [
        ({"steps": ["a", "b"], "labels": [1, 0.25]}, (1.0, 0.25)),
        ({"completions": ["a", "b"], "labels": [True, False]}, (1.0, 0.0)),
        ({"steps": ["a", "b"], "labels": [None, 0]}, (None, 0.0)),
        ({"steps": ["a", "b"], "ratings": [0, -1]}, (0.5, 0.0)),
        ({"steps": ["a", "b"], "ratings": [1, None]}, (1.0, None)),
        ({"steps": ["a", "b"], "label": -1}, (1.0, 1.0)),
        ({"steps": ["a", "b"], "label": 0}, (0.0, None)),
    ],
)
def test_the_simple_shapes(tmp_path, row, labels):
    assert one(tmp_path, {"prompt": "q", **row, "more": 3}, neutral=0.5) == [Solution(ASKED, ("a", "b"), labels, {"more": 3})]


def test_process_bench_calls_the_question_a_problem(tmp_path):
    [found] = one(tmp_path, {"id": "1", "problem": "q", "steps": ["a", "b", "c"], "label": 1, "final_answer_correct": False})
    assert (found.prompt, found.labels) == (ASKED, (1.0, 0.0, None))


def test_every_completion_of_prm800k_is_judged_once_behind_the_path_to_it(tmp_path):
    def step(*completions, chosen=None, human=None):
        return {"completions": [{"text": text, "rating": rating} for text, rating in completions], "chosen_completion": chosen,
                "human_completion": human}  # fmt: skip

    steps = [
        step(("a", 1), ("b", -1), chosen=0),
        step(("c", -1), human={"text": "d"}),
        step(("e", 0), ("f", None), chosen=0),
        step(("g", -1)),
    ]
    row = {"labeler": "x", "question": {"problem": "q"}, "label": {"steps": steps, "finish_reason": "found_error"}}
    found = one(tmp_path, row, neutral=None)
    assert [(solution.steps, solution.labels) for solution in found] == [
        (("a", "d", "e"), (1.0, None, None)),
        (("b",), (0.0,)),
        (("a", "c"), (None, 0.0)),
        (("a", "d", "e", "g"), (None, None, None, 0.0)),
    ]


def test_math_shepherd_has_its_labels_in_the_place_of_its_marks(tmp_path):
    text = "How many? Step 1: 2 + 2 = 4. ки\nStep 2: So 5. The answer is: 5 ки"
    [found] = one(tmp_path, {"input": text, "label": text.replace("ки", "+", 1).replace("ки", "-"), "task": "GSM8K"})
    assert found == Solution(
        (Message("user", "How many?"),), ("Step 1: 2 + 2 = 4.", "Step 2: So 5. The answer is: 5"), (1.0, 0.0), {"task": "GSM8K"}
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"steps": ["a"], "labels": [-1]}, r"'labels\[0\]' is -1; .*; on the scale of -1, 0 and 1 they are called 'ratings'"),
        ({"steps": ["a"], "labels": [2]}, r"'labels\[0\]' is 2; true, false, null or a number from 0 \(wrong\) to 1"),
        ({"steps": ["a"], "labels": []}, "'labels' is empty"),
        ({"steps": ["a", "b"], "labels": [1]}, "'labels' are 1, but 'steps' are 2"),
        ({"steps": ["a", " "], "labels": [1, 1]}, r"'steps\[1\]' is blank"),
        ({"steps": "a", "labels": [1]}, "'steps' is text; a list"),
        ({"steps": ["a"], "ratings": [2]}, r"'ratings\[0\]' is 2; 1 \(right\), 0"),
        ({"steps": ["a"], "label": 1}, "'label' is 1; the index of the first wrong step is expected, up to 0"),
        ({"input": "x ки", "label": "x +"}, "'Step 1:', and 'ки' behind each step"),
        ({"question": {"problem": "q"}, "label": {"steps": [{"completions": 3}]}}, r"'label.steps\[0\].completions' is a number"),
        ({"chosen": "a", "rejected": "b"}, "has no 'steps' with 'labels' or 'ratings'"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, row, said):
    path = write(tmp_path / "x.jsonl", {"prompt": "q", "steps": ["a"], "labels": [1]}, {"prompt": "q", **row})
    with pytest.raises(DataError, match=f"line 2: .*{said}"):
        list(read_solutions(path))
    with pytest.raises(DataError, match="line 2"):
        check_head(path, "solutions")
