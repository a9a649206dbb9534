"""Self-Instruct: what is asked, what is read out of an answer, and which tasks are kept."""

import json

import pytest

from trivium.core.errors import DataError
from trivium.synth.rouge import rouge_l, rouge_words
from trivium.synth.self_instruct import Pool, Task, parse, read_tasks, request, shown_tasks, why_unfit

ANSWER = """4. Instruction: Name three rivers of France.
4. Input:
<noinput>
4. Output:
Seine, Loire, Rhone
###
5. Instruction: Sort the numbers.
5. Input:
3, 1, 2
5. Output:
1, 2, 3
###
6. Input: this one has no instruction
###
7. Instruction: This one is cut off in its
"""


def test_a_list_is_read_task_by_task():
    rivers = Task("Name three rivers of France.", "", "Seine, Loire, Rhone")
    sort = Task("Sort the numbers.", "3, 1, 2", "1, 2, 3")
    bad, cut = "6. Input: this one has no instruction", "7. Instruction: This one is cut off in its"
    assert list(parse(ANSWER, 4, is_whole=False)) == [rivers, sort, bad]
    assert list(parse(ANSWER, 4, is_whole=True)) == [rivers, sort, bad, cut]
    assert all(isinstance(each, str) for each in parse(ANSWER, 5, is_whole=False))  # other numbers than those that were asked for
    assert sort.messages == [{"role": "user", "content": "Sort the numbers.\n\n3, 1, 2"}, {"role": "assistant", "content": "1, 2, 3"}]


def test_a_request_shows_tasks_as_they_are_to_be_written():
    tasks = [Task("Add  the\nnumbers:", "1, 2", "3"), Task("Say hello.", "", "Hello.")]
    text, begins = request(tasks)
    assert begins == "3. Instruction:"
    assert text.endswith(
        "###\n1. Instruction: Add the numbers\n1. Input:\n1, 2\n1. Output:\n3\n"
        "###\n2. Instruction: Say hello.\n2. Input:\n<noinput>\n2. Output:\nHello.\n###\n"
    )
    shown = text[text.index("###") :]
    assert list(parse(shown[3:], 1, is_whole=True)) == [Task("Add the numbers", "1, 2", "3"), tasks[1]]


@pytest.mark.parametrize(
    ("instruction", "reason"),
    [
        ("Name three rivers", "is too short"),
        ("word " * 151, "is too long"),
        ("Draw a picture of a cat", "has the word draw"),
        ("Please Go To the shop now", "has the word go to"),
        ("Describe the filename of it", None),  # "file" is no word here
        ("Write a program that sorts numbers", "begins as too many others"),
        ("'Hello' is what in French?", "begins with punctuation"),
        ("\u00c9crire une phrase en fran\u00e7ais", "does not begin with a letter of English"),
        ("Name three rivers of France.", None),
    ],
)
def test_the_published_filters(instruction, reason):
    assert why_unfit(instruction) == reason


def test_a_task_like_an_earlier_one_is_not_taken_and_the_pool_only_grows():
    pool = Pool()
    assert pool.takes("Name three rivers of France.")
    assert not pool.takes("Name three rivers of France!")
    assert not pool.takes("Name four rivers of France.")  # 4 of 5 words: 0.8
    assert pool.takes("Name seven lakes of France.")  # 3 of 5: 0.6
    assert [" ".join(words) for words in pool.words] == ["name three rivers of france", "name seven lakes of france"]


def test_exactly_0_7_is_taken_as_published():
    first, second = (" ".join([*map(str, range(7)), *(f"{mark}{place}" for place in range(3))]) for mark in "ab")
    assert rouge_l(rouge_words(first), rouge_words(second)) == pytest.approx(0.7)
    pool = Pool()
    assert pool.takes(first)
    assert pool.takes(second)


def test_the_tasks_that_are_shipped_pass_their_own_filters_and_differ():
    pool = Pool()
    tasks = shown_tasks()
    assert len(tasks) >= 20
    for task in tasks:
        assert why_unfit(task.instruction) is None
        assert pool.takes(task.instruction)
        assert len(task.output.split()) <= 100


def test_tasks_of_a_file_and_of_self_instruct(tmp_path):
    own = {"instruction": "Add the numbers.", "input": "1, 2", "output": "3"}
    theirs = {"id": "seed_task_0", "instruction": "Say hello.", "instances": [{"input": "", "output": "Hello."}]}
    (tmp_path / "tasks.jsonl").write_text(f"{json.dumps(own)}\n{json.dumps(theirs)}\n")
    assert read_tasks(tmp_path / "tasks.jsonl") == [Task("Add the numbers.", "1, 2", "3"), Task("Say hello.", "", "Hello.")]
    (tmp_path / "bad.jsonl").write_text(json.dumps({"instruction": "Say hello."}) + "\n")
    with pytest.raises(DataError, match=r"bad.jsonl line 1: a task has an instruction and an output"):
        read_tasks(tmp_path / "bad.jsonl")
