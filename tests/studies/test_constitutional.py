"""The study of constitutional AI: its rule on runs in which all of it holds, and on runs that lack one part each."""

import json
import math

import pytest

from tests.tiny import SIZES, write_tiny
from trivium.core.config import merge
from trivium.core.errors import DataError
from trivium.score.ranking.leaderboard import POINTS
from trivium.stages.recipe import load_recipe
from trivium.studies.constitutional import HEADER, Constitutional
from trivium.studies.run import run_study

HARM = {
    "critique_0": 1.6, "critique_1": 1.3, "critique_2": 1.0, "taught_0": 1.6, "taught_1": 1.2, "helpful": 1.6, "sl_cai": 0.9, "rl_cai": 0.1,
    "rl_coin": 0.9,
}  # fmt: skip


def write_run(folder, *, harm=None, helpful=None, without=()):
    """A run folder whose held-out table has these means, with intervals of +- 0.05."""
    folder.mkdir(exist_ok=True)
    rows = []
    for stage, value in {**HARM, **(harm or {})}.items():
        good = (helpful or {}).get(stage, 0.6)
        rows += [
            {"stage": stage, "measure": "unwanted_score", "value": -value, "low": -value - 0.05, "high": -value + 0.05, "n": 300},
            {"stage": stage, "measure": "true_score", "value": good, "low": good - 0.04, "high": good + 0.04, "n": 300},
        ]
    (folder / "results.json").write_text(json.dumps([row for row in rows if row["stage"] not in without]))
    return folder


def test_a_run_in_which_all_of_it_holds(tmp_path):
    finding = Constitutional().find([write_run(tmp_path / "run")])
    assert finding.holds
    assert finding.verdict.startswith("A constitution lowers harm as the rule asks.")
    assert [row[1] for row in finding.rows] == [*HARM]
    assert dict(zip(finding.header, finding.rows[-2], strict=True)) == {
        "run": "run", "model": "rl_cai", "harm": 0.1, "low": pytest.approx(0.05), "high": pytest.approx(0.15), "helpful": 0.6,
        "helpful low": pytest.approx(0.56), "helpful high": pytest.approx(0.64), "answers": 300, **dict.fromkeys(HEADER[9:]),
    }  # fmt: skip
    assert finding.outcome == "seen"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"harm": {"critique_1": 1.7}}, "harm falls with each revision (critique): no"),
        ({"harm": {"taught_1": 1.55}}, "harm falls with each revision (taught): no"),
        ({"harm": {"rl_cai": 0.85, "rl_coin": 1.2}}, "RL-CAI is less harmful than SL-CAI: no"),
        ({"helpful": {"rl_cai": 0.5}}, "RL-CAI is as helpful: no"),
        ({"harm": {"rl_coin": 0.15}}, "and than with feedback by a coin: no"),
    ],
)
def test_each_part_of_the_rule_can_fail_alone(tmp_path, changes, said):
    finding = Constitutional().find([write_run(tmp_path / "run", **changes)])
    assert not finding.holds
    assert said in finding.verdict
    assert finding.verdict.count(": no") == 1


def test_harm_is_never_below_none(tmp_path):
    assert Constitutional().find([write_run(tmp_path / "run", harm={"rl_cai": 0.0})]).rows[-2][2:4] == [0.0, 0.0]


@pytest.mark.parametrize("without", [("rl_coin",), ("critique_1", "critique_2", "taught_1")])
def test_a_run_that_lacks_something_is_named(tmp_path, without):
    with pytest.raises(DataError, match=r"run: has no 'unwanted_score' and 'true_score' of (rl_coin|a chain of revisions).*trivium study"):
        Constitutional().find([write_run(tmp_path / "run", without=without)])


def test_of_several_runs_all_must_hold(tmp_path):
    good, bad = write_run(tmp_path / "good"), write_run(tmp_path / "bad", harm={"rl_cai": 0.9})
    assert not Constitutional().find([good, bad]).holds
    assert Constitutional().find([good, good]).holds


def test_rlhf_is_told_beside_and_elo_follows_from_who_is_better_on_a_prompt(tmp_path):
    """RL-CAI is better than both others, which are alike, on 3 of 4 prompts and worse on one: the odds are 3, which is log 3 nats."""
    harm = {"rl_cai": 0.1, "rlhf": 0.3}
    folder = write_run(tmp_path / "run", harm=harm)
    (folder / "evaluate").mkdir()
    scores = {"sl_cai": [0.0, -1.0, -1.0, -1.0] * 25, "rl_cai": [-1.0, 0.0, 0.0, 0.0] * 25}
    scores["rlhf"] = scores["sl_cai"]
    (folder / "evaluate/judged.json").write_text(json.dumps({name: {"unwanted": each} for name, each in scores.items()}))
    (folder / "evaluate/scores.json").write_text(json.dumps(dict.fromkeys(scores, [1.0] * 100)))
    finding = Constitutional().find([folder])
    assert finding.holds  # no part of the rule
    places = {row[1]: dict(zip(finding.header, row, strict=True)) for row in finding.rows}
    assert places["sl_cai"]["Elo harmless"] == 1000
    assert places["rl_cai"]["Elo harmless"] - 1000 == pytest.approx(POINTS * math.log(3))
    assert places["rl_cai"]["harmless Elo low"] < places["rl_cai"]["Elo harmless"] < places["rl_cai"]["harmless Elo high"]
    assert [places[name]["Elo helpful"] for name in scores] == pytest.approx([1000] * 3)
    assert places["critique_0"]["Elo harmless"] is None
    assert "run: RL-CAI does less harm than RLHF by the 95 % intervals; Elo with sl_cai at 1,000: rl_cai " in finding.verdict
    assert "RLHF" not in Constitutional().find([write_run(tmp_path / "old")]).verdict


@pytest.mark.parametrize(("rlhf", "said"), [(0.1, "neither more nor less harm"), (0.0, "more harm")])
def test_the_intervals_say_which_of_both_is_less_harmful(tmp_path, rlhf, said):
    folder = write_run(tmp_path / "run", harm={"rl_cai": 0.11 + rlhf / 10, "rlhf": rlhf})
    assert f"RL-CAI does {said} than RLHF by the 95 % intervals." in Constitutional().find([folder]).verdict


@pytest.mark.slow
def test_the_study_goes_from_text_to_page(tmp_path, monkeypatch):
    write_tiny(tmp_path)
    monkeypatch.chdir(tmp_path)
    stages, tiny = load_recipe("constitutional", {}).stages, SIZES["stages"]
    asks = {"sampling": {"max_new_tokens": 60}, "rows": 40}
    room = {"seq_len": 128, "micro_batch_rows": 8}
    small = {
        name: merge(tiny.get(stage.kind, asks), room if stage.kind in ("finetune", "reward", "reinforce") else {})
        for name, stage in stages.items()
    }
    small |= {name: small[name] | {"steps": 4} for name, stage in stages.items() if stage.kind == "reward"}
    small |= {
        name: small[name] | {"phases": 1, "sampling": asks["sampling"]} for name, stage in stages.items() if stage.kind == "reinforce"
    }
    small |= {name: small[name] | {"steps": 200, "batch_size": 16, "optimizer": {"lr": 3e-3}} for name in ("helpful", "sl_cai")}
    small |= {
        "reviser": {"steps": 60, "batch_size": 8, "seq_len": 512, "micro_batch_rows": 4},
        "pretrain": tiny["pretrain"] | {"context": 512, "width": 64},
    }
    small["demonstrate"] = tiny["demonstrate"] | {"num_prompts": 40}
    facts, _ = run_study("constitutional", [], {"machine": SIZES["machine"], **small}, tmp_path / "runs", quiet=True)
    rows = {row["model"]: row for row in facts["table"]}
    assert {"critique_4", "taught_4", "helpful", "sl_cai", "rl_cai", "rl_coin", "rlhf"} <= rows.keys()
    assert rows["sl_cai"]["Elo harmless"] == rows["sl_cai"]["Elo helpful"] == 1000
    assert "harm than RLHF by the 95 % intervals; Elo with sl_cai at 1,000" in facts["verdict"]
