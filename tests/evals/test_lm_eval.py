"""lm-eval both ways on a model of a few thousand weights: the same numbers as its Hugging Face backend, and as our own harness."""

import json
from pathlib import Path

import pytest

pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install 'trivium[eval]'")

import numpy as np
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from benchmarks.lm_eval_tasks import as_lm_eval
from tests.nn.io_models import FILES, ours
from trivium.core.errors import DataError
from trivium.evals.harness import rows_of
from trivium.evals.lm_eval import TriviumLM, _score, rows_of_task
from trivium.evals.scoring import Answer
from trivium.evals.task import NamedTask
from trivium.nn.io.directory import save_model
from trivium.score.rewards import Length
from trivium.stages.computing.subjects import load_subject

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]
WORDS = ("king", "land", "sea", "night", "bread", "stone")
TASKS = {
    "choices": 'prompt = "Q: {{question}} "\nshots = 1\n[scoring]\nkind = "choices"\n',
    "ending": 'prompt = "the "\n[scoring]\nkind = "choices"\nending = "of the {{question}}"\n',
    "pair": '[scoring]\nkind = "pair"\nfirst = "the {{question}}"\nsecond = "{{question}} the"\n',
    "continuation": 'prompt = "the king of the"\n[scoring]\nkind = "continuation"\ntarget = "{{question}}"\n',
    "text": 'prompt = "the king of the {{question}} said that the people have 12 ships"\n[scoring]\nkind = "text"\n',
    "answer": 'prompt = "the {{question}}"\n[scoring]\nkind = "answer"\nstop = ["a", "\\n"]\nmax_new_tokens = 8\n',
}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    save_model(tmp_path / "base", ours("llama"), **FILES)
    rows = [{"question": word, "choices": [word[0], f"{word} and the people", "ships"], "gold": 0} for word in WORDS]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, text in TASKS.items():
        Path(f"{name}.toml").write_text(f'data = "rows.jsonl"\n{text}')
    return tmp_path


def samples(model: object, config: dict[str, object]) -> list[dict[str, object]]:
    found = simple_evaluate(model, tasks=[config], bootstrap_iters=0, task_manager=TaskManager(include_defaults=False))
    [rows] = found["samples"].values()
    return sorted(rows, key=lambda row: row["doc_id"])


@pytest.mark.parametrize("name", TASKS)
def test_our_harness_our_model_in_lm_eval_and_its_own_backend_say_the_same(name, place):
    named, subject = NamedTask.read(f"{name}.toml"), load_subject("base")
    items = named.items()
    config = as_lm_eval(named, items, place)
    mine = samples(TriviumLM(subject), config)
    theirs = samples(HFLM(pretrained="base", dtype="float32", device="cpu", batch_size=2), config)
    rows = rows_of(subject, named, items, Length(max_words=1), seed=1)
    for row, one, other in zip(rows, mine, theirs, strict=True):
        said, backend = ([response for responses in each["resps"] for response in responses] for each in (one, other))
        if isinstance(named.task.scoring, Answer):
            assert row["responses"] == said == backend
            continue
        numbers = [[each[0] if isinstance(each, tuple) else each for each in side] for side in (said, backend)]
        assert row["logprobs"] == pytest.approx(numbers[0], abs=1e-6)
        assert row["logprobs"] == pytest.approx(numbers[1], abs=2e-4)
        if name == "continuation":
            assert [each[1] for each in said] == [each[1] for each in backend] == [bool(row["scores"]["acc"])]


def test_a_task_of_lm_eval_becomes_our_rows(place):
    Path("mine.yaml").write_text(
        "task: mine\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: rows.jsonl\ntest_split: test\n"
        'output_type: multiple_choice\ndoc_to_text: "Q: {{question}}"\ndoc_to_target: gold\ndoc_to_choice: choices\n'
        "metric_list:\n  - metric: acc\n  - metric: acc_norm\n"
    )
    Path("same.toml").write_text('data = "rows.jsonl"\nprompt = "Q: {{question}}"\n[scoring]\nkind = "choices"\n')
    subject, named = load_subject("base"), NamedTask.read("same.toml")
    rows = rows_of_task(subject, "mine.yaml", limit=4)
    ours_ = rows_of(subject, named, named.items(4), None, seed=1)
    assert [row["item"] for row in rows] == list(range(4))
    for row, one in zip(rows, ours_, strict=True):
        assert row["scores"] == {name: one["scores"][name] for name in ("acc", "acc_norm")}


def test_a_number_of_an_item_is_a_number_whatever_made_it():
    for value in (True, 1, 1.0, np.bool_(True), np.int64(1), np.float32(1)):
        assert _score("acc", value) == 1.0
    assert _score("perplexity", -2.0) == 2.0
    assert _score("word_perplexity", (-6.0, 3)) == [6.0, 3.0]
    assert _score("f1", (0, 1)) is None


def test_what_lm_eval_cannot_load_is_one_line():
    Path("gone.yaml").write_text("task: gone\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: gone.jsonl\ntest_split: test\n")
    with pytest.raises(DataError, match="lm_eval:gone.yaml: ") as error:
        rows_of_task(load_subject("base"), "gone.yaml")
    assert "\n" not in str(error.value)


def test_an_option_of_generation_that_is_not_known_is_refused(place):
    named = NamedTask.read("answer.toml")
    config = as_lm_eval(named, named.items(), place)
    config["generation_kwargs"]["num_beams"] = 4
    with pytest.raises(DataError, match="sets num_beams"):
        samples(TriviumLM(load_subject("base")), config)
