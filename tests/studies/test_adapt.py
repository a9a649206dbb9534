"""The study of three ways: its measure by hand, its rule on runs that are written, and what it says is missing."""

import json

import numpy as np
import pytest

from tests.nn.io_models import FILES, ours
from trivium.core.config import merge, read_toml, write_toml
from trivium.core.errors import DataError
from trivium.nn.flops import num_parameters
from trivium.nn.io.directory import read_config, save_model
from trivium.stages.recipe import load_recipe, shipped
from trivium.studies.adapt import HEADER, NEEDED, Adapt, gap_closed
from trivium.studies.run import run_study

PROMPTS = 40
DRAW = np.random.default_rng(3)
BASE = DRAW.uniform(0.1, 0.3, PROMPTS)
TUNED = BASE + 0.4 + DRAW.uniform(-0.1, 0.1, PROMPTS)
SCORES = {
    "base": BASE, "small": BASE - 0.05, "continual": BASE, "tuned": TUNED, "expert": BASE + 0.2,
    "proxy": BASE + 0.3 * (TUNED - BASE) / 0.4 + DRAW.uniform(-0.05, 0.05, PROMPTS), "same_size": TUNED, "no_expert": BASE,
}  # fmt: skip
BITS = {  # of the domain and of general text
    "base": (2.0, 1.5), "small": (2.2, 1.7), "continual": (1.2, 1.52), "tuned": (1.6, 2.1), "expert": (1.9, 2.2), "proxy": (1.9, 1.6),
    "same_size": (1.6, 2.1), "no_expert": (2.0, 1.5),
}  # fmt: skip


def write_run(folder, scores=SCORES, without=""):
    """A run of the shipped recipe as it would have been left, with models of a few thousand weights."""
    folder.mkdir()
    recipe = read_toml(shipped()["adapt"])
    recipe["stages"]["evaluate"]["models"] = {
        name: path for name, path in recipe["stages"]["evaluate"]["models"].items() if name != without
    }
    (folder / "run.toml").write_text(write_toml(merge(recipe, {"machine": {"threads": 1}})))
    (folder / "manifest.json").write_text("{}")
    for stage in ("base", "small", "continual", "tuned", "expert"):
        save_model(folder / stage / "model", ours("llama"), **FILES)
        mark(folder / stage, {"parameters": 5000, "flops": 1e12 if stage in ("base", "small") else 1e11})
    parts = {"proxy": ("base", "expert", "small"), "same_size": ("base", "tuned", "base"), "no_expert": ("base", "expert", "expert")}
    for stage, (base, expert, anti) in parts.items():
        (folder / stage / "model").mkdir(parents=True)
        names = {role: f"../../{name}/model" for role, name in zip(("base", "expert", "anti_expert"), (base, expert, anti), strict=True)}
        (folder / stage / "model" / "proxy.json").write_text(json.dumps(names))
        mark(folder / stage, {"parameters": 15000})
    (folder / "evaluate").mkdir()
    (folder / "evaluate" / "scores.json").write_text(json.dumps({name: list(values) for name, values in scores.items() if name != without}))
    rows = []
    for name, (domain, general) in BITS.items():
        for measure, value in (("bits_per_byte_domain", domain), ("bits_per_byte_general", general), ("true_score", scores[name].mean())):
            rows.append({"stage": name, "measure": measure, "value": value, "low": value - 0.03, "high": value + 0.03, "n": PROMPTS})
    (folder / "results.json").write_text(json.dumps(rows))
    return folder


def mark(folder, facts):
    (folder / "done.json").write_text(json.dumps({"facts": facts, "metrics_end": 0}))


def test_the_gap_by_hand():
    base, tuned = np.array([0.0, 0.2, 0.1, 0.1]), np.array([0.5, 0.7, 0.6, 0.6])
    value, low, high = gap_closed(base, tuned, np.array([0.2, 0.5, 0.3, 0.3]))
    assert value == pytest.approx((0.2 + 0.3 + 0.2 + 0.2) / 4 / 0.5)
    assert 0.4 - 1e-9 <= low < value < high <= 0.6 + 1e-9
    assert gap_closed(base, tuned, tuned) == pytest.approx((1, 1, 1))
    assert gap_closed(base, tuned, base) == pytest.approx((0, 0, 0))


def test_a_gap_that_may_be_none_has_no_interval():
    values = np.array([0.0, 1.0, 0.0])
    assert gap_closed(values, values[::-1] + np.array([0.1, 0.0, 0.0]), values) == (0, None, None)
    assert gap_closed(values, values, values + 1) == (0, None, None)


def test_the_three_ways_are_told_apart(tmp_path):
    finding = Adapt().find([write_run(tmp_path / "a")])
    assert finding.outcome == "seen"
    assert finding.verdict.startswith("Proxy tuning closes 7")
    assert "continual learns the domain's text and keeps the general (+0.020 bits per byte)" in finding.verdict
    assert "tuned learns the domain's text and forgets the general (+0.600 bits per byte)" in finding.verdict
    rows = {row[1]: dict(zip(HEADER, row, strict=True)) for row in finding.rows}
    assert list(rows) == list(SCORES)
    assert rows["proxy"]["gap closed"] == pytest.approx(0.75, abs=0.05)
    assert (rows["same_size"]["gap closed"], rows["no_expert"]["gap closed"]) == (1, 0)
    assert (rows["proxy"]["training FLOPs"], rows["base"]["training FLOPs"]) == (1e11, 1e12)
    assert rows["proxy"]["parameters at inference"] == 15000
    shape = read_config(tmp_path / "a" / "base" / "model")
    one = 2 * 4 * shape.num_layers * shape.num_kv_heads * shape.head_dim / 1e3
    assert rows["base"]["keys and values, kB a token"] == one
    assert rows["proxy"]["keys and values, kB a token"] == 3 * one
    assert num_parameters(shape) > 0


def test_a_proxy_that_does_nothing_is_not_seen(tmp_path):
    finding = Adapt().find([write_run(tmp_path / "a", SCORES | {"proxy": BASE - 0.01})])
    assert finding.outcome == "not seen"


def test_without_a_gap_it_cannot_tell(tmp_path):
    scores = SCORES | {"tuned": BASE + np.resize([0.2, -0.2], PROMPTS)}
    finding = Adapt().find([write_run(tmp_path / "a", scores | {"same_size": scores["tuned"]})])
    assert finding.holds is None
    assert finding.verdict.startswith("There is no gap to close")


@pytest.mark.parametrize("broken", ["same_size", "no_expert"])
def test_a_wrong_control_is_said(tmp_path, broken):
    finding = Adapt().find([write_run(tmp_path / "a", SCORES | {broken: BASE + 0.1})])
    assert finding.outcome == "controls failed"


def test_seeds_are_pooled(tmp_path):
    one, two = write_run(tmp_path / "a"), write_run(tmp_path / "b")
    finding = Adapt().find([one, two])
    assert len(finding.rows) == 2 * len(SCORES)
    assert "a: continual" in finding.verdict
    assert "b: continual" in finding.verdict


@pytest.mark.parametrize("without", NEEDED)
def test_what_is_missing_is_named(tmp_path, without):
    with pytest.raises(DataError, match=r"no `evaluate` with a rule has the models base, .* no_expert and tokens of domain and general"):
        Adapt().find([write_run(tmp_path / "a", without=without)])


def test_the_page_is_written(tmp_path):
    facts, page = run_study("adapt", [write_run(tmp_path / "a")], {}, None)
    assert page.read_text().count("Proxy tuning closes")
    assert facts["outcome"] == "seen"


@pytest.mark.parametrize("preset", ["laptop", "gpu"])
def test_what_continues_reads_general_text_that_the_base_has_not_read(preset):
    for trial in Adapt().trials(preset):
        stages = load_recipe(trial.recipe, trial.options).stages
        base = stages["base"]
        assert stages["continual"].mix["general"].skip == base.steps * base.batch_tokens // base.seq_len


def test_without_intervals_one_cannot_tell(tmp_path):
    folder = write_run(tmp_path / "a")
    rows = [row | {"low": None, "high": None} for row in json.loads((folder / "results.json").read_text())]
    (folder / "results.json").write_text(json.dumps(rows))
    verdict = Adapt().find([folder]).verdict
    assert "tuned may learn the domain's text and may forget the general (+0.600 bits per byte)" in verdict
