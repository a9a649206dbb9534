"""A recipe in small tells what it takes in full: exactly in a world of straight lines, and as real runs where there is time."""

import json
from dataclasses import replace

import pytest

from tests.tiny import write_tiny
from trivium.core.config import build, plain
from trivium.core.errors import ConfigError
from trivium.plan.calibration import StageFit
from trivium.stages import pipeline
from trivium.stages.machine import Machine
from trivium.stages.planning import rehearse
from trivium.stages.planning.jobs import asked, jobs_of
from trivium.stages.planning.plan import against, outlook, plan
from trivium.stages.planning.rehearse import PHASES, STEPS, arithmetic, calibrate, known_fits, small, units
from trivium.stages.pretrain import Pretrain
from trivium.stages.recipe import load_recipe, recipe_toml
from trivium.stages.reinforce import Reinforce
from trivium.stages.settle import settle

MACHINE = {"device": "cpu", "threads": 1, "precision": "float32", "compile": "off", "ceiling": 1e11, "kernels": "torch", "products": "full"}


@pytest.fixture
def quickstart(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))
    return settle(load_recipe("quickstart", {"machine": MACHINE}))[0]


def law(job):
    """(fixed seconds, seconds of a unit) in the world of straight lines."""
    layers = job.config.num_layers if job.config else 0
    if isinstance(job.stage, Reinforce):
        return 2.0 + 0.5 * layers, 3.0 + 1.0 * layers
    if job.is_training:
        return 1.5 + 0.25 * layers, 0.01 + 0.02 * layers
    return 4.0, 1e-10


def world(recipe, folder, *, quiet):
    """What a run would leave behind there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "speed.jsonl").open("a") as file:
        for job in jobs_of(recipe):
            fixed, each = law(job)
            (folder / job.name).mkdir(exist_ok=True)
            (folder / job.name / "done.json").write_text(json.dumps({"facts": {"seconds": fixed + each * units(job)}}))
            steps = job.stage.steps if job.is_training else 0
            parts = each * PHASES / steps if isinstance(job.stage, Reinforce) else each
            file.writelines(json.dumps({"stage": job.name, "step": step, "seconds": parts}) + "\n" for step in range(1, steps + 1))


def test_in_a_world_of_straight_lines_the_plan_is_exact(quickstart, monkeypatch):
    monkeypatch.setattr(pipeline, "execute", world)
    fits = calibrate(quickstart)
    for job in jobs_of(quickstart):
        fixed, each = law(job)
        assert fits[job.name].seconds(units(job)) == pytest.approx(fixed + each * units(job), rel=1e-6), job.name


def test_what_was_found_is_kept_for_other_numbers_of_updates_and_nothing_else(quickstart, monkeypatch):
    monkeypatch.setattr(pipeline, "execute", world)
    fits = calibrate(quickstart)
    longer = settle(load_recipe("quickstart", {"machine": MACHINE, "pretrain": {"steps": 5000}, "reinforce": {"phases": 99}}))[0]
    assert known_fits(longer) == fits == known_fits(quickstart)
    for other in ({"width": 512}, {"depth": 5}, {"batch_tokens": 4096}):
        assert known_fits(settle(load_recipe("quickstart", {"machine": MACHINE, "pretrain": other}))[0]) == {}
    assert known_fits(replace(quickstart, machine=build(Machine, MACHINE | {"threads": 2}))) == {}


def test_the_run_folder_of_a_recipe_is_planned_from_its_calibration(quickstart, monkeypatch, tmp_path):
    monkeypatch.setattr(pipeline, "execute", world)
    fits = calibrate(quickstart)
    (tmp_path / "run.toml").write_text(recipe_toml(quickstart))
    assert known_fits(settle(asked(str(tmp_path), {}, []).recipe)[0]) == fits


def test_a_rehearsal_keeps_the_size_of_an_update_and_does_few(quickstart):
    kept = replace(quickstart, stages={**quickstart.stages, "reinforce": replace(quickstart.stages["reinforce"], rollouts="answers")})
    first, second = small(kept, 0), small(kept, 1)
    for number, rehearsal in enumerate((first, second)):
        stages = rehearsal.stages
        pretrain = stages["pretrain"]
        assert isinstance(pretrain, Pretrain)
        assert (pretrain.depth, pretrain.width, pretrain.steps, pretrain.batch_tokens) == (number + 1, 256, STEPS, 2048)
        assert (stages["finetune"].steps, stages["reinforce"].phases) == (STEPS, PHASES)
        assert stages["demonstrate"] == quickstart.stages["demonstrate"]
        assert stages["reinforce"].sampling.max_new_tokens < 40  # an untrained model does not stop by itself
        assert stages["reinforce"].rollouts == ""  # its answers are not those of the run
        assert plain(stages["prepare"]) == plain(quickstart.stages["prepare"])
    assert first.stages["tokenize"] == second.stages["tokenize"]  # the second run finds the text of the first


def test_the_table_says_where_its_times_come_from(quickstart, monkeypatch):
    assert {each.tag for each in outlook(quickstart).stages} == {"assumed"}
    monkeypatch.setattr(pipeline, "execute", world)
    text = plan(quickstart, with_rehearsal=True)
    assert "calibrated" in text
    assert "assumed: " not in text
    found = {each.job.name: each for each in outlook(quickstart).stages}
    assert (found["pretrain"].tag, found["prepare"].tag) == ("calibrated", "measured")


def test_a_crowded_machine_is_said(quickstart, monkeypatch):
    monkeypatch.setattr(pipeline, "execute", world)
    busy = iter([(100.0, 10.0), (200.0, 11.0)])
    monkeypatch.setattr(rehearse, "busy_seconds", lambda: next(busy))
    assert "caution: other processes took" in plan(quickstart, with_rehearsal=True)
    busy = iter([(100.0, 10.0), (101.0, 11.0)])
    assert "caution" not in plan(quickstart, with_rehearsal=True)


def test_a_run_is_compared_with_its_plan(quickstart, monkeypatch, tmp_path):
    monkeypatch.setattr(pipeline, "execute", world)
    calibrate(quickstart)
    expected = {each.job.name: each.seconds for each in outlook(quickstart).stages}
    for name, seconds in expected.items():
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name / "done.json").write_text(json.dumps({"facts": {"seconds": seconds / 1.25}}))
    lines = against(quickstart, tmp_path / "run").splitlines()
    assert [line.split()[0] for line in lines[1 : len(quickstart.stages) + 1]] == list(quickstart.stages)
    assert all("+25%" in line for line in lines[1 : len(quickstart.stages) + 2])


def test_a_stage_that_got_slower_with_prompts_is_a_line():
    job = next(job for job in jobs_of(settle(load_recipe("quickstart", {"machine": MACHINE}))[0]) if job.name == "evaluate")
    half = replace(job, work=replace(job.work, tokens_generated=job.work.tokens_generated // 2))
    fit = rehearse._fit(job, (half, 3.0, 0.0), (job, 4.0, 0.0))
    assert fit.seconds(arithmetic(job.work)) == pytest.approx(4.0)
    assert fit.fixed == pytest.approx(2.0)
    assert rehearse._fit(job, (half, 3.0, 0.0), (half, 3.0, 0.0)) == StageFit(3.0, 0.0)
    noisy = rehearse._fit(job, (half, 1.0, 0.0), (job, 4.0, 0.0))  # more than in proportion: something else ran meanwhile
    assert (noisy.fixed, noisy.seconds(2 * arithmetic(job.work))) == (pytest.approx(0.0), pytest.approx(8.0))


@pytest.mark.slow
def test_a_real_rehearsal_of_the_tiny_recipe_gives_every_stage_a_time(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))
    recipe = load_recipe(str(write_tiny(tmp_path)), {})
    monkeypatch.chdir(tmp_path)
    found = outlook(recipe, with_rehearsal=True)
    assert all(each.tag in ("measured", "calibrated") for each in found.stages)
    assert 1 < found.seconds < 600


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"is no run folder, it has no run\.toml"):
        asked(str(tmp_path), {}, [])
