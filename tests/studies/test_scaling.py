"""The study of scaling: on tables and run folders with planted losses."""

import json

import numpy as np
import pytest

from trivium.core.errors import DataError
from trivium.plan.law import REFITTED, Law
from trivium.stages.recipe import load_recipe
from trivium.studies.run import run_study
from trivium.studies.scaling import HEADER, STEPS, Scaling, _decide

FAR = Law(1.8, 2e4, 12.0, 0.6, 0.15)


def values(finding):
    return {row[0]: dict(zip(HEADER[1:], row[1:], strict=True)) for row in finding.rows}


def write_table(path, law, noise=0.003):
    draw = np.random.default_rng(2)
    rows = ["parameters,tokens,loss"]
    for N in np.geomspace(3e7, 1e10, 6):
        for D in np.geomspace(1e9, 3e11, 6):
            rows.append(f"{N},{D},{float(law(N, D)) * np.exp(noise * draw.normal())}")
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def test_a_table_gives_the_law_the_plan_and_the_verdict(tmp_path):
    finding = Scaling(runs=write_table(tmp_path / "runs.csv", REFITTED), budget=1e22, unique_tokens=1e10).find(())
    assert finding.outcome == "seen"
    found = values(finding)
    assert found["a"]["low"] <= REFITTED.a <= found["a"]["high"]
    assert found["b / (a + b)"]["value"] == pytest.approx(0.513, abs=0.03)
    assert found["runs"]["value"] == 36
    assert found["best tokens for 1e+22 FLOPs"]["value"] > 1e10
    assert found["best epochs over the text for 1e+22 FLOPs"]["value"] > 1
    assert "36 runs fit loss" in finding.verdict


def test_a_law_that_is_not_balanced_is_told_from_one_that_is(tmp_path):
    finding = Scaling(runs=write_table(tmp_path / "runs.csv", FAR)).find(())
    assert finding.outcome == "not seen"
    assert "which the claim does not allow" in finding.verdict


def write_run(folder, sizes, steps, without=()):
    folder.mkdir()
    with (folder / "metrics.jsonl").open("w") as metrics:
        for size, N in enumerate(sizes):
            for step in steps:
                name, D = f"n{size}_{step}", step * 2048
                (folder / name).mkdir()
                facts = {"flops": 6 * N * D, "tokens": D, "parameters": 2 * N}
                (folder / name / "done.json").write_text(json.dumps({"metrics_end": 0, "facts": facts}))
                row = {"bits_per_byte": float(1.2 + 40 * N**-0.4 + 60 * D**-0.4)}
                metrics.write(json.dumps({"stage": name, "step": step, **({} if name in without else row)}) + "\n")
    return folder


def test_every_pretraining_of_run_folders_is_a_run(tmp_path):
    finding = Scaling().find([write_run(tmp_path / "a", (1e5, 3e5, 1e6), STEPS), write_run(tmp_path / "b", (3e6,), STEPS, ["n0_125"])])
    found = values(finding)
    assert found["runs"]["value"] == 15
    assert found["typical error of the law"]["value"] < 1e-3
    assert found["a"]["value"] == pytest.approx(0.4, abs=0.02)
    assert found["best parameters for 3.7e+14 FLOPs"]["value"] > 0


def test_too_few_runs_say_what_is_missing(tmp_path):
    with pytest.raises(DataError, match="2 complete stages of pre-training with 'bits_per_byte', 6 are needed"):
        Scaling().find([write_run(tmp_path / "a", (1e5,), STEPS[:2])])
    bad = tmp_path / "runs.csv"
    bad.write_text("parameters,tokens,loss\n1e6,1e9,high\n")
    with pytest.raises(DataError, match="runs.csv line 2: 'loss' is "):
        run_study("scaling", [], {"runs": str(bad)}, tmp_path / "out")


def test_the_recipe_of_the_gpu_has_larger_models_and_the_same_stages():
    laptop, gpu = (load_recipe(trial.recipe, trial.options) for size in ("laptop", "gpu") for trial in Scaling().trials(size))
    assert list(laptop.stages) == list(gpu.stages)
    assert gpu.stages["n4_d4"].width > laptop.stages["n4_d4"].width
    assert sum(name.startswith("n") for name in laptop.stages) == 16


def test_a_wide_interval_decides_nothing_wherever_it_lies():
    def laws(*powers):
        return [Law(1.8, 400.0, 400.0, 1 - power, power) for power in powers for _ in range(20)]

    assert _decide(laws(0.45, 0.55)) is True
    assert _decide(laws(0.1, 0.3)) is False
    assert _decide(laws(0.6, 1.3)) is None
    assert _decide(laws(0.1, 0.9)) is None
