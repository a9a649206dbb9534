"""The study of instruction pre-training: its rule on planted runs, with the controls."""

import json

import pytest

from trivium.core.config import plain
from trivium.core.errors import DataError
from trivium.stages.recipe import load_recipe
from trivium.studies.instruction_pretraining import ARMS, InstructionPretraining, decide, difference

GAINS = {"vanilla": 0.0, "mix": 0.1, "instruct": 0.3, "shuffled": 0.1}


def write_run(folder, seed, gains, *, tokens=1000, without=(), more=None):
    """A finished run whose arms answer a fifth and what they gain; the noise of a seed is shared, and a little is each arm's own."""
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    rows = []
    for number, arm in enumerate(ARMS):
        if arm not in without:
            value = 0.2 + gains[arm] + 0.05 * seed + 0.01 * ((seed * (number + 2)) % 3)
            rows.append({"stage": arm, "measure": "exact_score", "value": value, "low": None, "high": None, "n": 500})
        (folder / arm).mkdir()
        done = {"facts": {"tokens": tokens + (more or {}).get(arm, 0)}, "metrics_end": number}
        (folder / arm / "done.json").write_text(json.dumps(done))
    (folder / "results.json").write_text(json.dumps(rows))
    return folder


def runs(folder, gains, count=3):
    return [write_run(folder / f"run-{seed}", seed, gains) for seed in range(count)]


def test_a_planted_order_is_seen_and_its_control_tells_why(tmp_path):
    finding = InstructionPretraining().find(runs(tmp_path, GAINS))
    assert finding.holds
    assert "Instruct > Mix > Vanilla is seen" in finding.verdict
    assert "pairs that belong to their text are worth more" in finding.verdict
    assert "shuffled pairs are worth nothing themselves" in finding.verdict
    assert finding.outcome == "seen"


def test_no_gain_is_not_seen(tmp_path):
    finding = InstructionPretraining().find(runs(tmp_path, dict.fromkeys(ARMS, 0.0)))
    assert not finding.holds
    assert "is not seen" in finding.verdict
    assert "makes no difference that these runs can show" in finding.verdict


def test_shuffled_pairs_that_are_as_good_are_told(tmp_path):
    finding = InstructionPretraining().find(runs(tmp_path, GAINS | {"shuffled": 0.3}))
    assert finding.outcome == "controls failed"
    assert "makes no difference that these runs can show; shuffled pairs are themselves worth something" in finding.verdict


def test_two_runs_decide_nothing(tmp_path):
    finding = InstructionPretraining().find(runs(tmp_path, GAINS, count=2))
    assert finding.outcome == "cannot tell"
    assert finding.verdict.startswith("Undecided: 2 of at least 3 runs")
    assert (
        "Undecided: 1 of"
        in InstructionPretraining().find(runs(tmp_path / "one", GAINS, count=1) if (tmp_path / "one").mkdir() is None else []).verdict
    )


def test_the_interval_is_students_by_hand():
    """Differences 0.1, 0.2, 0.3: mean 0.2, s = 0.1, t = 4.30265, half = t s / sqrt(3) = 0.2484."""
    scores = [{"mix": 0.1 * number, "vanilla": 0.0} for number in (1, 2, 3)]
    assert difference(scores, "mix", "vanilla") == pytest.approx((0.2, 0.2 - 0.24842, 0.2 + 0.24842), abs=1e-5)
    nothing = (0.0, -1.0, 1.0)
    found = {
        ("mix", "vanilla"): (0.2, 0.1, 0.3),
        ("instruct", "mix"): nothing,
        ("instruct", "shuffled"): nothing,
        ("shuffled", "mix"): nothing,
    }
    assert decide(found, 3)[1] is False


def test_a_run_without_an_arm_or_with_other_tokens_is_refused(tmp_path):
    lacking = write_run(tmp_path / "lacking", 1, GAINS, without=("mix",))
    with pytest.raises(DataError, match="has no exact_score of mix; this study reads finished runs of the recipe"):
        InstructionPretraining().find([lacking])
    unequal = write_run(tmp_path / "unequal", 1, GAINS, more={"mix": 1})
    with pytest.raises(DataError, match="different numbers of tokens .*mix 1,001"):
        InstructionPretraining().find([unequal])


def test_the_arms_of_the_recipe_differ_in_what_they_read_alone():
    stages = {name: plain(stage) for name, stage in load_recipe("instruction_pretraining", {}).stages.items()}
    alike = [{name: value for name, value in stages[arm].items() if name not in ("tokens", "mix")} for arm in ARMS]
    assert alike[1:] == alike[:1] * 3
    tuned = [{name: value for name, value in stages[f"{arm}_tuned"].items() if name != "model"} for arm in ARMS]
    assert tuned[1:] == tuned[:1] * 3
    weights = {arm: {name: part["weight"] for name, part in stages[arm].get("mix", {}).items()} for arm in ARMS}
    assert weights["instruct"] == weights["shuffled"] == {"raw": 1, "known": 1, "synthesized": 3}
    assert weights["mix"] == {"raw": 4, "known": 1}
    assert [each.split("/")[0] for each in stages["evaluate"]["models"].values()] == [f"@{arm}_tuned" for arm in ARMS]
