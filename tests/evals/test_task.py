"""Tasks from files: prompts, examples, groups, and what is wrong in one line."""

import json
from pathlib import Path

import pytest

from trivium.core.config import build, read_toml
from trivium.core.errors import ConfigError, DataError
from trivium.evals.scoring import Request
from trivium.evals.task import NamedTask, Task, shipped_tasks, sources_of
from trivium.evals.templates import lettered, render

WORDS = ("king", "land", "sea", "night", "bread")
TASK = """
about = "Letters."
data = "rows.jsonl"
prompt = "Q: {{question}}\\nA:"
[scoring]
kind = "choices"
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [{"question": word, "choices": [word[0], "z"], "gold": 0, "part": "ab"[i % 2]} for i, word in enumerate(WORDS)]
    write("tasks/rows.jsonl", rows)
    return tmp_path


def write(path: str, rows: list[dict[str, object]]) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def named(text: str = TASK, **options: object) -> NamedTask:
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items())
    Path("tasks/letters.toml").write_text(lines + text)
    return NamedTask.read("tasks/letters.toml")


def test_data_stands_beside_the_file():
    task = named()
    assert (task.name, [item.context for item in task.items()]) == ("letters", [f"Q: {word}\nA:" for word in WORDS])
    assert task.requests(task.items()[0]) == [Request("Q: king\nA:", " k"), Request("Q: king\nA:", " z")]
    assert sources_of("tasks/letters.toml") == ["tasks/letters.toml", str(Path("tasks/rows.jsonl"))]


def test_examples_are_the_first_ones_but_never_the_item_itself():
    first, second, *_ = [item.context for item in named(shots=2, description="Letters.\n\n").items()]
    assert first == "Letters.\n\nQ: land\nA: l\n\nQ: sea\nA: s\n\nQ: king\nA:"
    assert second == "Letters.\n\nQ: king\nA: k\n\nQ: sea\nA: s\n\nQ: land\nA:"


def test_drawn_examples_are_the_same_for_the_same_seed_and_shared_by_items():
    contexts = {seed: [item.context for item in named(shots=2, shots_seed=seed).items()] for seed in range(5)}
    assert contexts[3] == [item.context for item in named(shots=2, shots_seed=3).items()]
    assert len({each[0] for each in contexts.values()}) > 1
    beginnings = {context.rpartition("Q: ")[0] for context in contexts[3]}
    assert len(beginnings) <= 3  # all but those of the examples themselves have one


def test_examples_come_from_the_same_group_or_from_another_file():
    contexts = [item.context for item in named(shots=1, group="part").items()]
    assert contexts[1] == "Q: night\nA: n\n\nQ: land\nA:"  # night is the other one of part b
    write("tasks/train.jsonl", [{"question": "stone", "choices": ["s", "z"], "gold": 0}])
    assert [item.context for item in named(shots=1, shots_from="train.jsonl").items()][0] == "Q: stone\nA: s\n\nQ: king\nA:"


def test_records_and_items_can_be_chosen():
    assert [item.fields["question"] for item in named(only="part == 'b'").items()] == ["land", "night"]
    assert len(named().items(limit=2)) == 2


def test_a_conversation_has_its_examples_as_turns():
    scoring = '[scoring]\nkind = "answer"\ntarget = "{{choices[0]}}"\nis_chat = true\n'
    item = named(TASK.split("[scoring]")[0] + scoring, shots=1, description="Be short.").items()[0]
    assert [(turn.role, turn.content) for turn in item.turns] == [
        ("system", "Be short."), ("user", "Q: land\nA:"), ("assistant", "l"), ("user", "Q: king\nA:"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "text", "says"),
    [
        ({"only": "part == 'c'"}, TASK, r"letters.toml: no record of tasks.rows.jsonl counts \(part == 'c'\)"),
        ({"shots": 9}, TASK, "shots is 9, but there are 4 examples"),
        (
            {},
            TASK.replace("{{question}}", "{{questoin}}"),
            r"letters.toml prompt: 'questoin' is undefined \(fields of the record: question",
        ),
        ({}, TASK.replace("{{question}}", "{% if %}"), "prompt: .* is no template"),
        ({}, TASK.replace("rows.jsonl", "raws.jsonl"), "raws.jsonl: there is no such file"),
        ({}, TASK.replace("choices", "choises"), "its kind is one of: 'choices'"),
        ({"promt": "x"}, TASK, "unknown option 'promt'; did you mean 'prompt'"),
    ],
)
def test_what_is_wrong_is_one_line(options, text, says):
    def asked():
        task = named(text, **options)
        task.check()
        task.items()

    with pytest.raises((ConfigError, DataError), match=says) as error:
        asked()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("bolq", "there is no task 'bolq'; did you mean 'boolq'"),
        ("none.toml", "the path of a TOML file"),
        ("arc_easy", r"task arc_easy: its data is in no package; name a file of it: tasks=\[arc_easy:FILE\]"),
    ],
)
def test_a_task_that_is_not_there_is_named(reference, says):
    with pytest.raises(ConfigError, match=says):
        NamedTask.read(reference)


def test_a_task_of_ones_own_without_data_is_told_where_to_name_it(tmp_path):
    (tmp_path / "own.toml").write_text('prompt = "x"\n[scoring]\nkind = "choices"\n')
    with pytest.raises(ConfigError, match=r'own.toml: it has no data; add data = "FILE"'):
        NamedTask.read(str(tmp_path / "own.toml"))


def test_a_shipped_task_takes_data_of_ones_own():
    task = NamedTask.read("arc_easy:tasks/rows.jsonl")
    task.check()
    assert (task.name, task.items()[0].context) == ("arc_easy", "Question: king\nAnswer:")


@pytest.mark.parametrize("name", shipped_tasks())
def test_shipped_tasks_are_tasks(name):
    task = build(Task, read_toml(shipped_tasks()[name]), where=name)
    assert task.about
    assert task.prompt or task.scoring.kind in ("pair", "dialogue")


SAMPLES = {  # a record of each shipped task, invented, in the layout of the package or of the original file
    "boolq": {"title": "Sea", "passage": "It is wet.", "question": "is it wet", "answer": "True"},
    "piqa": {"question": "cut", "options": "A. with a knife \nB. with a spoon ", "answer": "B. with a spoon "},
    "openbookqa": {"question": "fish ", "options": "A. swim\nB. fly", "answer": "A. swim"},
    "commonsense_qa": {"question": "Where?", "options": "\nA. bank\nB. library\nC. mall\nD. sea\nE. sky", "answer": "C. mall"},
    "mmlu": {"subject": "a_b", "split": "test", "question": "Sum? ", "choices": ["1", "2", "3", "4"], "gold": 1},
    "siqa": {"passage": "He fell.", "question": "Why?", "options": "A. ice\nB. fire\nC. sea", "answer": "A. ice"},
    "logiqa": {"passage": "P.", "question": "Q?", "options": "A. x\nB. y\nC. z\nD. w", "answer": "D. w"},
    "stereoset": {"type": "intersentence", "bias_type": "x", "context": "A.", "stereotype": "B.", "anti-stereotype": "C."},
    "winogrande": {"question": "He ate _ quickly.", "choices": ["bread", "stone"], "gold": 0},
    "lambada": {"text": "the king of the land"},
    "blimp": {"UID": "x", "sentence_good": "he runs", "sentence_bad": "he run"},
    "crows_pairs": {"bias_type": "x", "sent_more": "a", "sent_less": "b"},
    "winobias": {"type": "type1", "stereotype": "pro", "text": "[The cook] thanked the guard because [she] was kind."},
    "truthfulqa": {"Question": "Q?", "Best Answer": "yes", "Incorrect Answers": "no; never"},
    "hellaswag": {"question": "He", "choices": ["ran.", "ate."], "gold": 1},
    "bits_per_byte": {"text": "the king"},
    "humaneval": {"prompt": "def f():\n", "canonical_solution": " return 1\n", "test": "def check(f): assert f() == 1", "entry_point": "f"},
    "ifeval": {"prompt": "Hi", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
}
ASKED = {
    "boolq": ("Sea -- It is wet.\nQuestion: is it wet?\nAnswer:", [" no", " yes"]),
    "piqa": ("Question: cut\nAnswer:", [" with a knife", " with a spoon"]),
    "commonsense_qa": ("Question: Where?\nA. bank\nB. library\nC. mall\nD. sea\nE. sky\nAnswer:", [" A", " B", " C", " D", " E"]),
    "mmlu": (
        "The following are multiple choice questions (with answers) about a b.\n\nSum?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:",
        [" A", " B", " C", " D"],
    ),
    "lambada": ("the king of the", [" land"]),
    "winobias": ("The cook thanked the guard because", [" she", " he"]),
    "truthfulqa": (None, [" yes", " no", " never"]),
    "stereoset": ("A.", [" B.", " C."]),
    "blimp": ("", ["he runs", "he run"]),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_shipped_tasks_ask_what_their_papers_ask(name):
    write("tasks/one.jsonl", [SAMPLES[name]] * 5)
    task = NamedTask.read(f"{name}:tasks/one.jsonl")
    item, *_ = task.items()
    if name in ASKED:
        context, continuations = ASKED[name]
        asked = task.requests(item)
        assert context is None or {request.context for request in asked} == {context}
        assert [request.continuation for request in asked] == continuations
    if task.task.scoring.kind != "answer":
        from trivium.evals.scoring import Likelihood

        found = task.task.scoring.scores([Likelihood(-1.0, False) for _ in task.requests(item)], item.fields, "t")
        assert found


def test_lettered_options_are_taken_apart():
    assert lettered("A. red apples\nB. b. c\nC) 1.5") == ["red apples", "b. c", "1.5"]
    assert lettered("\nA. I\nF. is a mark\nB. b") == ["I\nF. is a mark", "b"]
    assert lettered("B. bank") == ["bank"]
    assert lettered("no letters") == []


def test_a_template_cannot_reach_the_interpreter():
    with pytest.raises(DataError, match="unsafe"):
        render("{{question.__class__.__mro__}}", {"question": "x"}, "t")
