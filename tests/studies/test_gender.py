"""The study of gender: released numbers, and runs before and after."""

import gzip

import numpy as np
import pytest

from trivium.core.errors import ArtefactError, DataError
from trivium.evals.bias import Share
from trivium.evals.pronouns import Lean
from trivium.stages.recipe import load_recipe, recipe_toml
from trivium.studies import gender
from trivium.studies.gender import CROWS, GAP, HEADER, LEVEL, Gender, Measured, planted_lean
from trivium.studies.released_bias import released_changes

# From the released tables, as they are written there.
V1 = """file,run,shots,step,task,metric,value
baseline-410m-deduped_step142000.json,pythia-410m-deduped,baseline,142000,crows_pairs_english_gender,pct_stereotype,0.6
baseline-410m-deduped_step142000.json,pythia-410m-deduped,baseline,142000,crows_pairs_english_gender,pct_stereotype_stderr,0.0274
baseline-410m-deduped_step143000.json,pythia-410m-deduped,baseline,143000,crows_pairs_english_gender,pct_stereotype,0.61875
baseline-410m-deduped_step143000.json,pythia-410m-deduped,baseline,143000,crows_pairs_english_gender,pct_stereotype_stderr,0.0272
intervention-410m-deduped_step143000.json,pythia-410m-deduped,intervention,143000,crows_pairs_english_gender,pct_stereotype,0.61875
intervention-410m-deduped_step143000.json,pythia-410m-deduped,intervention,143000,crows_pairs_english_gender,pct_stereotype_stderr,0.0272
410m-deduped_step143000.json,pythia-410m-deduped,zero-shot,143000,crows_pairs_english_gender,pct_stereotype,0.9
intervention-410m-deduped_step143000.json,pythia-410m-deduped,intervention,143000,sciq,acc,0.8
"""
V0 = """run,step,task,metric,value
pythia-1.3b-deduped,71500,crows_pairs_english_gender,pct_stereotype,0.60625
pythia-1.3b-deduped,71500,crows_pairs_english_gender,pct_stereotype_stderr,0.0273
intervention-1.3b-deduped,71500,crows_pairs_english_gender,pct_stereotype,0.6
intervention-1.3b-deduped,71500,crows_pairs_english_gender,pct_stereotype_stderr,0.0274
long-intervention-1.3b-deduped,71500,crows_pairs_english_gender,pct_stereotype,0.5875
long-intervention-1.3b-deduped,71500,crows_pairs_english_gender,pct_stereotype_stderr,0.0276
eval_results_02-15-2023-21-59-54.json,,crows_pairs_english_gender,pct_stereotype,0.5
"""


def test_released_tables_give_the_published_differences(tmp_path):
    first, second = tmp_path / "v1.csv.gz", tmp_path / "v0.csv"
    first.write_bytes(gzip.compress(V1.encode()))
    second.write_text(V0)
    [change] = released_changes(first)
    assert (change.name, change.step) == ("410m, intervention", 143000)
    assert (change.before.value, change.after.value) == (0.61875, 0.61875)
    short, long = released_changes(second)
    assert (short.name, round(short.before.value, 3), short.after.value) == ("1.3b, intervention", 0.606, 0.6)
    assert (long.name, long.after.value) == ("1.3b, intervention, long", 0.5875)
    second.write_text(V0.splitlines()[0] + "\n" + V0.splitlines()[1] + "\n")
    with pytest.raises(DataError, match="no run before and after the intervention"):
        released_changes(second)


def test_released_numbers_show_no_clear_change(tmp_path):
    (tmp_path / "v0.csv").write_text(V0)
    study = Gender(released=str(tmp_path / "v0.csv"))
    assert study.trials("laptop") == ()
    finding = study.find(())
    assert finding.outcome == "not seen"
    assert [row[1] for row in finding.rows] == [CROWS, CROWS]
    assert finding.rows[1][HEADER.index("change")] == pytest.approx(0.5875 - 0.60625)
    assert "not clearly changed in 2" in finding.verdict
    assert [control.is_right for control in finding.controls] == [True, True]
    (tmp_path / "v0.csv").write_text(V0.replace(",0.027", ",0.06"))  # too few pairs to see a fall of a tenth
    assert Gender(released=str(tmp_path / "v0.csv")).find(()).outcome == "controls failed"


def lean(level, gap):
    wave = 0.1 * np.cos(np.arange(60.0))
    return Lean(level + gap / 2 + wave, level - gap / 2 + wave)


def finding_of(monkeypatch, tmp_path, after, same_weights="base", stages=("base", "swapped", "same")):
    """The study on the shipped recipe, with measures that are made up."""
    folder = tmp_path / "run"
    for stage in stages:
        (folder / stage / "model").mkdir(parents=True)
    (folder / "run.toml").write_text(recipe_toml(load_recipe("gender", {})))
    measures = {
        "base": Measured({CROWS: Share(0.6, 0.03)}, lean(-1.0, 0.8), "base"),
        "swapped": Measured({CROWS: Share(0.55, 0.04)}, after, "other"),
        "same": Measured({CROWS: Share(0.6, 0.03)}, lean(-1.0, 0.8), same_weights),
    }
    monkeypatch.setattr(Gender, "_measured", lambda self, model, folder: measures[model.parent.name])
    return Gender().find([folder])


def test_a_gap_that_falls_is_seen(monkeypatch, tmp_path):
    finding = finding_of(monkeypatch, tmp_path, lean(1.0, 0.2))
    assert finding.outcome == "seen"
    found = {(row[0], row[1]): row[HEADER.index("change")] for row in finding.rows}
    assert found["run/swapped", LEVEL] == pytest.approx(2.0)
    assert found["run/swapped", GAP] == pytest.approx(-0.6)
    assert found["run/swapped", CROWS] == pytest.approx(-0.05)
    assert found["run/same", GAP] == 0.0
    assert len(finding.controls) == 3


def test_pronouns_alike_after_all_occupations_are_no_change_of_the_gap(monkeypatch, tmp_path):
    assert finding_of(monkeypatch, tmp_path, lean(1.0, 0.8)).outcome == "not seen"


@pytest.mark.parametrize(("after", "weights"), [(lean(-1.0, 0.2), "base"), (lean(1.0, 0.2), "differ")])
def test_an_intervention_that_did_nothing_or_a_control_that_did_is_told(monkeypatch, tmp_path, after, weights):
    assert finding_of(monkeypatch, tmp_path, after, weights).outcome == "controls failed"


def test_the_control_alone_cannot_tell(monkeypatch, tmp_path):
    finding = finding_of(monkeypatch, tmp_path, lean(1.0, 0.2), stages=("base", "same"))
    assert finding.outcome == "cannot tell"
    assert finding.verdict == "No model was trained with other words, so one cannot tell."


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    with pytest.raises(DataError, match="1 finished stages of pre-training without and 0 with other words"):
        finding_of(monkeypatch, tmp_path, lean(1.0, 0.2), stages=("base",))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtefactError, match="is no run folder"):
        Gender().find([tmp_path / "empty"])
    monkeypatch.setattr(gender, "is_model", lambda folder: True)
    with pytest.raises(DataError, match="one model directory; name the one before"):
        Gender().find([tmp_path / "empty"])


def test_model_directories_are_compared_with_the_first(monkeypatch, tmp_path):
    leans = {"before": lean(0.0, 0.5), "a": lean(1.0, 0.0), "b": lean(2.0, 0.5)}
    monkeypatch.setattr(gender, "is_model", lambda folder: True)
    monkeypatch.setattr(Gender, "_measured", lambda self, model, folder: Measured({}, leans[model.name], model.name))
    finding = Gender().find([tmp_path / name for name in leans])
    assert [row[0] for row in finding.rows] == ["a", "a", "b", "b"]
    assert "lower in 1, higher in 0 and not clearly changed in 1" in finding.verdict


def test_planted_leans_are_what_they_say():
    assert planted_lean(1.0).level.interval[0] > 0.9
    assert planted_lean(1.0).gap.value == 0.0
