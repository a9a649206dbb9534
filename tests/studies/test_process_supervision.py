"""The study of process supervision: its rule on made-up choices, on a run folder with models, and the whole path from text to page."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.nn.io_models import FILES, ours
from tests.tiny import _documents
from trivium.core.config import plain
from trivium.core.errors import DataError
from trivium.learn.objectives import Process
from trivium.nn.io.directory import save_model
from trivium.stages.recipe import load_recipe, recipe_toml
from trivium.studies.process_supervision import HEADER, ProcessSupervision, judged, judged_in, planted
from trivium.studies.run import run_study

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
RIGHT = np.tile([1.0, 0.0, 0.0, 0.0], (100, 1))


def judge(known: int, misled: int = 0):
    """Who finds the one right answer of four to so many of 100 problems, puts it last in some, and else gives all the same score."""
    scores_PN = np.zeros((100, 4))
    scores_PN[:known] = RIGHT[:known]
    scores_PN[known : known + misled] = -RIGHT[known : known + misled]
    return judged("run", "judge", "steps", scores_PN, RIGHT)


def test_the_best_of_n_is_right_as_often_as_its_judge_knows():
    found = judge(40)
    assert found.right_PK.mean(0) == pytest.approx([0.25, 0.35, 0.45, 0.55])  # 1/4 where nothing is known, else k/4
    assert found.gain[0] == pytest.approx(0.3)
    assert found.perfect == 1


def test_to_leave_out_what_was_cut_off_is_no_help():
    scores_PN = np.where(np.arange(4) < 2, 0.0, -np.inf) * np.ones((100, 1))
    found = judged("run", "judge", "steps", scores_PN, RIGHT)
    assert found.right_PK.mean(0)[[0, -1]] == pytest.approx([0.25, 0.5])  # one of the two that are left is right
    gain, low, high = found.gain
    assert (gain, low, high) == pytest.approx((0, -high, high))
    assert not found.helps


def test_a_judge_helps_if_it_chooses_better_than_a_draw():
    assert judge(40).helps
    assert not judge(0).helps
    assert not judge(20, misled=60).helps  # no better
    assert planted("all", 1.0).helps
    assert not planted("none", 0.0).helps


def test_steps_beat_results_or_do_not_or_one_cannot_tell():
    assert judge(60).is_better(judge(30)) is True
    assert judge(30).is_better(judge(60)) is False
    assert judge(40).is_better(judge(40)) is None
    assert judge(41).is_better(judge(40)) is None


def write_run(folder: Path, *, names=("steps", "results", "control")) -> Path:
    """A run folder of the shipped recipe with reward models of random weights, and answers of which the second was cut off."""
    recipe = load_recipe("process_supervision", {"machine": MACHINE})
    folder.mkdir()
    (folder / "run.toml").write_text(recipe_toml(recipe))
    for name in names:
        model = ours("llama", has_scalar=True)
        model.scalar_head.process = plain(Process(separator=",", score="last" if name == "results" else "product"))
        save_model(folder / name / "model", model, **FILES)
        (folder / name / "done.json").write_text("{}")
    rows = [
        {"prompt": [{"role": "user", "content": f"king {number}"}], "responses": ["a, b", "land", "sea, a", ""],
         "scores": [1.0, 1.0, 0.0, 0.0], "stopped": [True, False, True, True]}
        for number in range(12)
    ]  # fmt: skip
    place = folder / "answers" / "answers" / "scored.jsonl"
    place.parent.mkdir(parents=True)
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_models_are_read_from_a_run_and_what_was_cut_off_is_never_chosen(tmp_path):
    found = judged_in(write_run(tmp_path / "a"), "a")
    assert [(each.name, each.learned, each.is_control) for each in found] == [
        ("steps", "steps", False), ("results", "results", False), ("control", "steps", True)
    ]  # fmt: skip
    assert found[0].right_PK.shape == (12, 4)
    assert found[0].right_PK[:, 0] == pytest.approx(np.full(12, 0.25))  # one of four is right and ended by itself
    assert (found[0].perfect, found[1].perfect) == (1, 1)
    assert found[0].drawn_P == pytest.approx(np.full(12, 1 / 3))
    facts, page = run_study("process_supervision", [tmp_path / "a"], {}, None)
    assert [row["reward model"] for row in facts["table"]] == ["steps", "results", "control"]
    assert [control["is_positive"] for control in facts["controls"]] == [True, False]
    assert dict(zip(HEADER, facts["table"][0].values(), strict=True))["answers to each"] == 4
    assert "<svg" in page.read_text()


def test_a_run_without_both_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"1 reward models of steps and 0 of results \(objective.score=last\)"):
        ProcessSupervision().find([write_run(tmp_path / "a", names=("steps",))])


@pytest.mark.slow
def test_the_study_goes_from_text_to_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in _documents(60)))
    few = {"steps": 150, "batch_size": 16, "seq_len": 96}
    asked = {"answers": 4, "sampling": {"max_new_tokens": 30, "temperature": 1.0}}
    options = {
        "machine": MACHINE, "prepare": {"sources": ["text.jsonl"], "heldout_share": 0.1}, "tokenize": {"vocab_size": 320},
        "pretrain": {"depth": 1, "width": 32, "seq_len": 96, "batch_tokens": 384, "micro_batch_rows": 4, "steps": 4, "evaluate_every": 4},
        "arithmetic": {"largest": 2, "num_demonstrations": 3, "num_prompts": 2, "num_heldout": 1}, "start": few,
        "judged": {**asked, "keep": {"rollouts": 2}}, "answers": asked,
        **{name: {"steps": 2, "batch_size": 2, "seq_len": 96} for name in ("steps", "results", "control")},
    }  # fmt: skip
    facts, _ = run_study("process_supervision", [], options, tmp_path / "runs", quiet=True)
    assert {row["learned from"] for row in facts["table"]} == {"steps", "results"}
