"""The study of RLHF: its rule on made-up scores, on a run folder with them, and the whole path from text to page."""

import json

import numpy as np
import pytest

from tests.tiny import SIZES, write_tiny
from trivium.core.config import merge
from trivium.core.errors import ArtefactError, DataError
from trivium.stages.recipe import load_recipe, recipe_toml
from trivium.studies.rlhf import HEADER, RLHF, Pair, chosen_in, pairs_in, planted
from trivium.studies.run import run_study


def pair(won: int, lost: int, tied: int, by: float = 0.1) -> Pair:
    """A model that wins and loses so often, by so much."""
    gap_N = np.array([by] * won + [-by] * lost + [0.0] * tied)
    return Pair("run", "rlhf", "sft", 0.5 + gap_N, np.full(len(gap_N), 0.5))


def test_the_win_rate_counts_a_tie_as_half():
    found = pair(60, 20, 20)
    assert found.win_rate[0] == pytest.approx(0.7)
    assert found.gain[0] == pytest.approx(0.04)
    low, high = found.win_rate[1:]
    assert 0.55 < low < 0.65 < 0.75 < high < 0.85


@pytest.mark.parametrize(
    ("counts", "seen"),
    [
        ((140, 60, 0), True),  # .70
        ((105, 95, 0), False),  # .525, up to .59
        ((125, 75, 0), True),  # .625
        ((115, 85, 0), None),  # .575, up to .64: it may be ten points
        ((7, 3, 0), None),  # .70, but of ten prompts
        ((20, 80, 100), False),
    ],
)
def test_the_rule_wants_ten_points_that_are_sure(counts, seen):
    assert pair(*counts).is_preferred is seen


def test_many_small_wins_that_a_few_losses_outweigh_are_no_gain():
    few = Pair("run", "rlhf", "sft", np.array([0.51] * 70 + [0.0] * 30), np.full(100, 0.5))
    assert few.win_rate[1] > 0.5
    assert few.is_preferred is None


def test_planted_gains_are_told_from_none():
    assert planted(0.2).is_preferred is True
    assert planted(0.0).is_preferred is False


def write_run(folder, scores, *, known=((0.1, 0.9), (0.4, 0.5, 0.2), (0.2, 0.6)) * 20):
    """A run folder of the shipped recipe with made-up true scores. known: of the answers that annotators saw."""
    recipe = load_recipe("rlhf", {})
    folder.mkdir()
    (folder / "run.toml").write_text(recipe_toml(recipe))
    (folder / "evaluate").mkdir()
    (folder / "evaluate" / "scores.json").write_text(json.dumps(scores))
    truth = folder / "annotate" / "rankings" / "truth.jsonl"
    truth.parent.mkdir(parents=True)
    truth.write_text("".join(json.dumps({"scores": each, "asked": "king"}) + "\n" for each in known))
    return folder


START = [0.5] * 200
BETTER, EVEN = [0.6] * 140 + [0.45] * 60, [0.6] * 100 + [0.4] * 100


def test_the_study_reads_a_run_and_judges_its_controls(tmp_path):
    good = write_run(tmp_path / "a", {"sft": START, "rlhf": BETTER, "control": EVEN})
    facts, page = run_study("rlhf", [good], {}, None)
    assert facts["outcome"] == "seen"
    assert "a/rlhf wins 70% [" in facts["verdict"]
    assert "a/control, which learned from rankings by lot, wins 50%" in facts["verdict"]
    assert [(control["is_positive"], control["is_detected"]) for control in facts["controls"]] == [(True, True), (False, False)]
    row = dict(zip(HEADER, facts["table"][0].values(), strict=True))
    assert (row["model"], row["began as"], row["prompts"]) == ("rlhf", "sft", 200)
    assert row["gain in true score"] == pytest.approx(0.7 * 0.1 - 0.3 * 0.05)
    assert "<svg" in page.read_text()
    assert RLHF().find([write_run(tmp_path / "b", {"sft": START, "rlhf": EVEN, "control": EVEN})]).outcome == "not seen"


def test_a_control_that_gains_outweighs_the_answer(tmp_path):
    folder = write_run(tmp_path / "a", {"sft": START, "rlhf": BETTER, "control": BETTER})
    assert RLHF().find([folder]).outcome == "controls failed"


def test_what_annotators_were_shown_says_what_the_best_by_the_truth_is(tmp_path):
    [best] = chosen_in(write_run(tmp_path / "a", {}))
    assert (best.before_N[:3].tolist(), best.after_N[:3].tolist()) == ([0.1, 0.4, 0.2], [0.9, 0.5, 0.6])
    assert best.is_preferred


def test_what_is_missing_or_damaged_is_said(tmp_path):
    folder = write_run(tmp_path / "a", {"sft": START, "control": EVEN, "rlhf": BETTER})
    (folder / "evaluate" / "scores.json").write_text("{")
    with pytest.raises(ArtefactError, match="scores.json: is missing or damaged; delete"):
        list(pairs_in(folder))
    (folder / "evaluate" / "scores.json").unlink()
    with pytest.raises(DataError, match="no `evaluate` with a `rule` has a reinforced model"):
        RLHF().find([folder])


@pytest.mark.slow
def test_the_study_goes_from_text_to_page(tmp_path, monkeypatch):
    write_tiny(tmp_path)
    monkeypatch.chdir(tmp_path)
    stages, tiny = load_recipe("rlhf", {}).stages, SIZES["stages"]
    small = {
        name: {"steps": 4, **{option: value for option, value in tiny[kind].items() if option != "steps"}}
        if (kind := stage.kind) in ("finetune", "reward") else tiny[kind] for name, stage in stages.items()
    }  # fmt: skip
    small["pretrain"] = tiny["pretrain"] | {"steps": 4, "width": 32}
    options = merge(small, {"machine": SIZES["machine"], "rlhf": {"phases": 2}, "control": {"phases": 2}})
    facts, _ = run_study("rlhf", [], options, tmp_path / "runs", quiet=True)
    assert [row["model"] for row in facts["table"]] == ["rlhf", "control"]
    assert {control["is_positive"] for control in facts["controls"]} == {True, False}
