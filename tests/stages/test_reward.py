"""`reward` on rankings and on judged steps, and what reads the models it leaves."""

import json
import re
import tomllib
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.nn.io_models import FILES, ours
from tests.stages.power import lost_before
from trivium.core.errors import ArtefactError, ConfigError, DataError
from trivium.core.run import Run
from trivium.core.types import Message, Preference, Solution
from trivium.learn.objectives import Process
from trivium.nn.io.directory import load_model, save_model
from trivium.stages.computing.models import Speaker, judged_steps, ranked_group
from trivium.stages.machine import Machine
from trivium.stages.pipeline import execute
from trivium.stages.recipe import recipe_of, single
from trivium.stages.reward_table import PairTable, step_table
from trivium.text.read import read_conversations, read_preferences
from trivium.train.annotate import final_scores

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
WORDS = ("king", "land", "sea", "night", "bread", "stone")
OPTIONS = {"model": "base", "data": "pairs.jsonl", "heldout": "pairs.jsonl", "steps": 4, "batch_size": 3, "seq_len": 64}
STEPS = {"data": "steps.jsonl", "heldout": "steps.jsonl", "objective": "process", "optimizer": {"lr": 3e-3}}
LAYOUT = {"rows": 4, "length": 64}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "base", ours("llama"), **FILES)
    pairs = [{"prompt": word, "responses": [word, "no", "a b c"], "scores": [3, 2, 1.5]} for word in WORDS]
    chats = [{"prompt": word, "response": word * 2} for word in WORDS]
    steps = [{"prompt": word, "steps": [word, "right" if right else "wrong"], "labels": [1, right]} for word in WORDS for right in (0, 1)]
    unjudged = [{"prompt": "king", "steps": ["a"], "labels": [None]}]
    for name, rows in {
        "pairs": pairs,
        "chats": chats,
        "steps": steps,
        "prompts": [{"prompt": word} for word in WORDS],
        "unjudged": unjudged,
    }.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def run(out: str = "out", name: str = "reward", *, save_every_s: float = 1e9, **options: Any) -> Path:
    """Run one stage from its last checkpoint, if there is one; its folder."""
    stage = single("reward", {**OPTIONS, **options}).stages["reward"]
    stage.check()
    with Run(Path(out), quiet=True, machine=MACHINE, save_every_s=save_every_s) as running:
        assert running.begin(name, {})
        stage.run(running)
    return Path(out) / name


def measured(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["measure"]: row for row in json.loads((folder / "results.json").read_text())}


def judge_of(folder: Path) -> Speaker:
    return Speaker.load(folder / "model", Machine(**MACHINE), has_scalar=True)


def test_the_table_has_baseline_margins_and_calibration():
    table = measured(run(steps=30))
    assert {"pair_accuracy", "pair_accuracy_longer_wins", "calibration_error"} <= table.keys()
    assert table["pair_accuracy"]["n"] == 18
    assert table["pair_accuracy"]["low"] < table["pair_accuracy"]["value"] <= table["pair_accuracy"]["high"]
    at_margin = {name: row["n"] for name, row in table.items() if "margin" in name}
    assert at_margin == {f"pair_accuracy_at_margin_{margin}": 6 for margin in ("0.5", "1", "1.5")}
    bins = json.loads(Path("out/reward/calibration.json").read_text())
    assert sum(each["n"] for each in bins) == 18
    assert all(0.5 <= each["low"] <= each["predicted"] <= each["high"] <= 1 for each in bins)
    assert table["calibration_error"]["value"] == pytest.approx(
        sum(each["n"] * abs(each["predicted"] - each["observed"]) for each in bins) / 18
    )


@pytest.mark.parametrize("named", ["chats.jsonl", "pairs.jsonl"])
def test_scores_are_centred_on_the_data_that_is_named_and_stay_so_when_loaded(named):
    judge = judge_of(run(normalise=named))
    if named == "chats.jsonl":
        shown = [judge.last_answer(conversation) for conversation in read_conversations(named)]
    else:
        shown = [item for preference in read_preferences(named) for item in ranked_group(judge, preference)]
    trained_on = [item for preference in read_preferences("pairs.jsonl") for item in ranked_group(judge, preference)]
    assert judge.scores(shown, **LAYOUT).mean() == pytest.approx(0, abs=1e-5)
    assert judge.scores(trained_on, **LAYOUT).std() == pytest.approx(1, abs=1e-5)
    assert f"scores have mean 0 on the {len(shown)} answers of {named}" in Path("out/log.txt").read_text()


def test_of_many_answers_the_level_is_that_of_those_to_prompts_drawn_by_lot(monkeypatch):
    monkeypatch.setattr("trivium.stages.reward.LEVEL_ANSWERS", 4)
    judge = judge_of(run())
    scores = [judge.scores(ranked_group(judge, preference), **LAYOUT) for preference in read_preferences("pairs.jsonl")]
    prompts = -(-4 // len(scores[0]))
    levels = [np.concatenate(drawn) for drawn in combinations(scores, prompts)]
    assert len(levels) > 1
    assert any(level.mean() == pytest.approx(0, abs=1e-5) and level.std() == pytest.approx(1, abs=1e-5) for level in levels)
    assert np.concatenate(scores).std() != pytest.approx(1, abs=1e-3)


def test_where_the_mean_is_changes_no_comparison():
    plain, named = measured(run("plain")), measured(run("named", normalise="chats.jsonl"))
    assert {name: row["value"] for name, row in plain.items()} == pytest.approx(
        {name: row["value"] for name, row in named.items()}, abs=1e-6
    )
    one, other = (final_scores(judge_of(Path(out) / "reward").model, [item], **LAYOUT) for out in ("plain", "named")
                  for item in [judge_of(Path("plain/reward")).answer((Message("user", "king"),), "sea")])  # fmt: skip
    assert one != pytest.approx(other, abs=1e-3)


@pytest.mark.parametrize("lora", [None, {"r": 2}])
def test_what_length_alone_explains_is_taken_off_the_scores(place, lora):
    longer = [{"prompt": word, "responses": [f"{word} a b c no", f"{word} a b", "sea"], "scores": [3, 2, 1]} for word in WORDS]
    (place / "longer.jsonl").write_text("".join(json.dumps(row) + "\n" for row in longer))
    options = {"data": "longer.jsonl", "heldout": "longer.jsonl", "steps": 30, "optimizer": {"lr": 3e-3}, "lora": lora}
    plain = run("plain", **options)
    free = run("free", **options, objective={"kind": "ranking", "centre": 0.01, "is_length_free": True}, normalise="chats.jsonl")
    assert measured(plain)["score_length_correlation"]["value"] > 0.5
    assert abs(measured(free)["score_length_correlation"]["value"]) < 0.05
    assert "with the length of the training answers; it is taken off" in Path("free/log.txt").read_text()
    judge = Speaker.load_judge(free / ("model" if lora is None else "adapter"), Machine(**MACHINE))
    answers = [item for preference in read_preferences("longer.jsonl") for item in ranked_group(judge, preference)]
    scores, tokens = judge.scores(answers, **LAYOUT), [(item.loss_mask > 0).sum() for item in answers]
    assert abs(np.corrcoef(scores, tokens)[0, 1]) < 1e-4
    assert scores.std() == pytest.approx(1, abs=1e-5)
    shown = [judge.last_answer(conversation) for conversation in read_conversations("chats.jsonl")]
    assert judge.scores(shown, **LAYOUT).mean() == pytest.approx(0, abs=1e-5)


def test_a_reward_model_that_knows_of_length_is_refused_by_tools_that_do_not_and_forgets_it_when_it_learns_again(place):
    from trivium.stages.use.exchange import export_model

    model = ours("llama", has_scalar=True)
    model.scalar_head.length_slope = 0.5
    save_model(place / "free", model, **FILES)
    with pytest.raises(ConfigError, match="free: takes off its scores what the length of an answer adds.*without objective.is_length_free"):
        export_model(place / "free", Path("copy"), to="hf")
    judge = Speaker.load_judge(place / "free", Machine(**MACHINE))
    item = judge.answer((Message("user", "king"),), "a b c")
    length = int((item.loss_mask > 0).sum())
    assert judge.scores([item], **LAYOUT) == pytest.approx(final_scores(judge.model, [item], **LAYOUT) - 0.5 * length)
    assert judge_of(run(model="free", steps=1)).model.scalar_head.length_slope == 0


def test_process_supervision_learns_which_step_is_right():
    folder = run(**STEPS, steps=40)
    table = measured(folder)
    assert table["step_accuracy"]["value"] == 1
    assert table["step_accuracy_most_frequent_label"]["value"] == pytest.approx(0.75)
    assert table["step_accuracy_on_wrong_steps"]["n"] == 6
    assert {"step_accuracy_on_right_steps", "calibration_error"} <= table.keys()
    judge = judge_of(folder)
    assert judge.process == Process()
    right, wrong = (judge.answer((Message("user", "king"),), f"king\n{last}") for last in ("right", "wrong"))
    first, second = judge.step_columns([right, wrong], **LAYOUT)
    assert first[0] == pytest.approx(second[0], abs=1e-5)  # what comes later is not seen
    assert first[1] > 0 > second[1]
    chances = 1 / (1 + np.exp(-first.astype(float)))
    assert judge.scores([right, wrong], **LAYOUT)[0] == pytest.approx(chances.prod())
    assert judge.scores([right], **LAYOUT) > 0.5 > judge.scores([wrong], **LAYOUT)


def test_an_adapter_and_an_export_stay_process_reward_models():
    from trivium.stages.use.exchange import export_model

    folder = run(**STEPS, lora={"r": 2}, steps=2)
    export_model(folder / "adapter", Path("copy"), to="hf")
    merged = judge_of(folder)
    items = [merged.answer((Message("user", "king"),), "king\nright")]
    for path in (folder / "adapter", Path("copy")):
        other = Speaker.load(path, Machine(**MACHINE), has_scalar=True)
        assert other.process == merged.process == Process()
        assert other.scores(items, **LAYOUT) == pytest.approx(merged.scores(items, **LAYOUT), abs=1e-6)


def test_only_the_last_step_counts_for_an_outcome_reward_model():
    judge, process = Speaker(ours("llama", has_scalar=True), *speaking()), Process(score="last")
    item = judged_steps(judge, Solution((Message("user", "king"),), ("a", "b"), (1.0, 0.0)), process)
    assert np.flatnonzero(item.loss_mask).tolist() == [len(item.tokens) - 1]
    assert item.columns["correct"][-1] == 0
    unknown = judged_steps(judge, Solution((Message("user", "king"),), ("a", "b"), (1.0, None)), process)
    assert not unknown.loss_mask.any()


def speaking() -> tuple[Any, Any]:
    loaded = Speaker.load(Path("base"), Machine(**MACHINE))
    return loaded.tokenizer, loaded.chat


def test_process_training_goes_on_with_the_same_bits():
    straight = run("straight", save_every_s=0.0, **STEPS)
    with lost_before(2):
        run("killed", save_every_s=0.0, **STEPS)
    killed = run("killed", save_every_s=0.0, **STEPS)
    for file in ("model/model.safetensors", "model/scalar_head.json", "results.json", "calibration.json"):
        assert (killed / file).read_bytes() == (straight / file).read_bytes()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"data": "steps.jsonl"}, ConfigError, "steps.jsonl: holds solutions whose steps were judged; set objective=process"),
        ({"objective": "process"}, ConfigError, "pairs.jsonl: compares whole answers; leave objective=process out"),
        ({**STEPS, "normalise": "chats.jsonl"}, ConfigError, "normalise is for rankings"),
        ({**STEPS, "truth": "truth.jsonl"}, ConfigError, "truth is for rankings"),
        ({**STEPS, "data": "unjudged.jsonl"}, DataError, "unjudged.jsonl: no solution has a step with a label"),
        ({"normalise": "prompts.jsonl"}, DataError, "prompts.jsonl line 1"),
        ({**STEPS, "objective": {"kind": "process", "separator": "r"}}, DataError, "2 steps reads as 3: steps hold the separator 'r'"),
        ({**STEPS, "objective": {"kind": "process", "score": "sum"}}, ConfigError, "'product', 'minimum', 'mean' or 'last'"),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_way_out(options, error, message):
    with pytest.raises(error, match=message):
        run(**options)


def test_a_language_model_is_no_reward_model():
    with pytest.raises(ArtefactError, match="base: is no reward model: every answer would get the same score"):
        Speaker.load_judge(Path("base"), Machine(**MACHINE))


def test_damaged_options_of_a_process_model_name_their_file(place):
    model = ours("llama", has_scalar=True)
    model.scalar_head.process = {"score": "sum"}
    save_model(place / "odd", model, **FILES)
    with pytest.raises(ArtefactError, match=r"odd/scalar_head.json: process: 'score' is 'sum'"):
        _ = Speaker.load(place / "odd", Machine(**MACHINE), has_scalar=True).process
    (place / "odd/manifest.json").unlink()
    (place / "odd/scalar_head.json").write_text('{"gain": 1.0, "bias": 0.0, "process": 3}')
    with pytest.raises(ArtefactError, match="process is 3; it must be an object"):
        load_model(place / "odd")
    (place / "odd/scalar_head.json").write_text('{"gain": 1.0, "bias": 0.0, "length_slope": "x"}')
    with pytest.raises(ArtefactError, match="length_slope is x; it must be a number"):
        load_model(place / "odd")


def test_stages_of_one_recipe_are_an_ensemble_that_a_policy_can_be_trained_on():
    member = {"kind": "reward", **OPTIONS, "steps": 3}
    policy = {
        "kind": "reinforce", "model": "base", "reward_model": ["@reward/model", "@reward_b/model", "@steps/model"],
        "disagreement_coef": 0.5, "prompts": "prompts.jsonl", "phases": 1, "prompts_per_phase": 4, "seq_len": 64,
        "sampling": {"max_new_tokens": 6},
    }  # fmt: skip
    stages = {"reward": member, "reward_b": member, "steps": {**member, **STEPS}, "reinforce": policy}
    execute(recipe_of({"name": "ensemble", "machine": MACHINE, "stages": stages}), Path("ensemble"), quiet=True)
    first, second = (Path("ensemble", name, "model/model.safetensors").read_bytes() for name in ("reward", "reward_b"))
    assert first != second
    rows = [json.loads(line) for line in Path("ensemble/metrics.jsonl").read_text().splitlines()]
    assert np.isfinite([row["reward"] for row in rows if "reward" in row][-1])
    page = Path("ensemble/report.html").read_text()
    assert ">Calibration<" in page
    assert "reward b: observed share against predicted probability" in page


def test_the_recipe_of_the_documentation_is_one():
    page = (Path(__file__).parents[2] / "docs/reward-models.md").read_text()
    [block] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    finetune = {"kind": "finetune", "model": "base", "data": "chats.jsonl", "steps": 1}
    recipe = recipe_of({"name": "shown", "stages": {"finetune": finetune, **tomllib.loads(block)["stages"]}})
    assert recipe.stages["reinforce"].reward_model == ("@reward/model", "@reward_b/model")


def test_a_reward_model_of_rankings_may_start_from_one_of_steps():
    started = run("first", **STEPS, steps=1) / "model"
    assert judge_of(run("second", model=str(started))).process is None


def test_sampled_answers_are_scored_by_their_steps():
    run("first", **STEPS, steps=5)
    options = {"model": "base", "prompts": "prompts.jsonl", "answers": 4, "rows": 24, "sampling": {"max_new_tokens": 40}}
    stage = single("sample", {**options, "reward_model": "first/reward/model"}).stages["sample"]
    with Run(Path("chosen"), quiet=True, machine=MACHINE) as running:
        assert running.begin("sample", {})
        stage.run(running)
    table = [json.loads(line) for line in Path("chosen/sample/answers/scored.jsonl").read_text().splitlines()]
    scored = [pair for row in table for pair in zip(row["stopped"], row["scores"], strict=True)]
    assert {stopped for stopped, _ in scored} == {True, False}
    assert all(0 < score < 1 if stopped else score == -1 for stopped, score in scored)


def table_of(*items: tuple[Preference, list[float]], gain: float = 1.0) -> PairTable:
    table = PairTable("reward")
    for item, learned in items:
        table.add(item, range(len(learned)), learned=learned, lengths=[3, 3, 9][: len(learned)], gain=gain)
    return table


def test_pairs_are_counted_prompt_by_prompt():
    judged = Preference((Message("user", "q"),), ("a", "b", "c"), (0, 1, 1), {"margin": 2})
    surer = Preference((Message("user", "q"),), ("a", "b"), (0, 1), {"margin": 3})
    table = table_of((judged, [2.0, 1.0, 2.0]), (surer, [4.0, 0.0]), gain=2.0)
    rows = {row["measure"]: row for row in table.rows()}
    assert {name: (row["value"], row["n"]) for name, row in rows.items() if name != "calibration_error"} == {
        "pair_accuracy": (pytest.approx(2.5 / 3), 3),  # right, a draw, right
        "pair_accuracy_longer_wins": (pytest.approx(1 / 3), 3),  # two draws and a shorter one
        "pair_accuracy_shorter_wins": (pytest.approx(2 / 3), 3),
        "pair_accuracy_at_margin_2": (0.75, 2),
        "pair_accuracy_at_margin_3": (1.0, 1),
        "score_length_correlation": (pytest.approx(1.2 / np.sqrt(28.8 * 8.8)), 5),  # of 3, 3, 9, 3, 3 tokens and their scores
    }
    sure = [0.5, 1 / (1 + np.exp(-0.5)), 1 / (1 + np.exp(-2))]  # the scores before they were doubled: differences 0, 1/2 and 2
    assert [each.predicted for each in table.bins()] == pytest.approx(sure)
    assert [each.observed for each in table.bins()] == [0.5, 1, 1]


def test_many_margins_make_three_shares_of_pairs():
    items = [
        (Preference((Message("user", "q"),), ("a", "b"), (0, 1), {"margin": margin}), [1.0, 0.0]) for margin in (1, 2, 3, 4, 5, 6, 7, 8, 9)
    ]
    rows = {row["measure"]: row["n"] for row in table_of(*items).rows() if "margin" in row["measure"]}
    assert rows == {f"pair_accuracy_at_margin_{part}": 3 for part in ("1_to_3", "4_to_6", "7_to_9")}


def test_steps_are_counted_solution_by_solution():
    rows, bins = step_table("reward", [np.array([2.0, -1.0]), np.array([1.0])], [np.array([1.0, 0.0]), np.array([0.0])])
    values = {row["measure"]: (row["value"], row["n"]) for row in rows}
    assert values["step_accuracy"] == (pytest.approx(2 / 3), 3)
    assert values["step_accuracy_most_frequent_label"] == (pytest.approx(2 / 3), 3)
    assert values["step_accuracy_on_right_steps"] == (1.0, 1)
    assert values["step_accuracy_on_wrong_steps"] == (0.5, 2)
    assert sum(each.n for each in bins) == 3
