"""The comparison with lm-eval: what counts as agreement, and our tasks as lm-eval's."""

import json
from pathlib import Path

import pytest

from benchmarks.contest import Contestant, Score
from benchmarks.evaluate import agreement, farthest, references, total
from benchmarks.lm_eval_tasks import as_lm_eval
from trivium.core.errors import ResourceError
from trivium.evals.task import NamedTask

ROWS = [{"question": word, "choices": ["x", "y"], "gold": 1} for word in ("king", "land")]


def task(folder: Path, scoring: str) -> NamedTask:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "mine.toml").write_text(f'data = "rows.jsonl"\nprompt = "Q: {{{{question}}}}"\n[scoring]\n{scoring}')
    return NamedTask.read(str(folder / "mine.toml"))


def test_choices_agree_if_the_likeliest_is_the_same(tmp_path):
    named = task(tmp_path, 'kind = "choices"\n')
    ours, theirs = [[-1.0, -2.0], [-3.0, -2.9]], [[[-1.001, False], [-2.0, False]], [[-2.9, False], [-3.0, False]]]
    same, lines = agreement(named, named.items(), ours, theirs)
    assert same == 1
    assert lines == ["mine item 1: ours [-3.0, -2.9], theirs [-2.9, -3.0]"]
    assert farthest(ours, theirs) == pytest.approx(0.1)


def test_a_single_log_prob_agrees_if_it_is_close_and_an_answer_if_it_is_the_same_text(tmp_path):
    named = task(tmp_path, 'kind = "continuation"\ntarget = "x"\n')
    assert agreement(named, named.items(), [[-1.0], [-1.0]], [[[-1.0001, True]], [[-1.1, True]]])[0] == 1
    named = task(tmp_path, 'kind = "answer"\n')
    assert agreement(named, named.items(), [["a b"], ["c"]], [[" a b"], ["d"]])[0] == 1
    assert farthest([["a"]], [["a"]]) is None


def test_tasks_become_lm_evals_with_the_very_same_text(tmp_path):
    named = task(tmp_path, 'kind = "choices"\n')
    config = as_lm_eval(named, named.items(), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "mine.jsonl").read_text().splitlines()]
    assert rows[0] == {"context": "Q: king", "choices": [" x", " y"], "gold": 1}
    assert (config["doc_to_text"], config["doc_to_choice"], config["target_delimiter"]) == ("context", "choices", "")


def test_data_is_found_below_the_folder_or_the_task_is_refused(tmp_path):
    (tmp_path / "mc").mkdir()
    (tmp_path / "mc" / "arc_easy_test.jsonl").write_text("{}")
    assert references(tmp_path, ["piqa", "arc_easy"]) == ["piqa", f"arc_easy:{tmp_path / 'mc' / 'arc_easy_test.jsonl'}"]
    assert len(references(None, [])) == 8
    with pytest.raises(ResourceError, match="hellaswag: its data is in no package"):
        references(None, ["hellaswag"])


def test_all_tasks_together_are_items_over_the_sum_of_times():
    def score(name, seconds, is_ours=False):
        return Score(Contestant(name, (), {}, is_ours), answers={task: [{"seconds": [each]}] for task, each in seconds.items()})

    work = total(
        [score("ours", {"a": 1.0, "b": 2.0}, True), score("1", {"a": 4.0, "b": 6.0}), score("8", {"a": 8.0, "b": 5.0})], {"a": 10, "b": 20}
    )
    assert [(line.name, line.value) for line in work.lines] == [
        ("ours", 10.0), ("1", 3.0), ("8", pytest.approx(30 / 13)), ("lm-eval hf, best batch of each task", pytest.approx(30 / 9)),
    ]  # fmt: skip
    assert work.ratio == pytest.approx(3.0)
