"""The study of over-optimisation: its fit against planted constants, its rule on runs that turn and runs that do not."""

import json
import math
import re

import numpy as np
import pytest

from trivium.core.errors import ConfigError, DataError
from trivium.report.reading import read_record
from trivium.studies.overoptimisation import HEADER, MIN_PHASES, Overoptimisation, courses_of, fit, turn_interval, turn_kl
from trivium.studies.run import run_study

ALPHA, BETA = 0.5, 0.25  # the turn is at d = e, a KL of e^2


def study(folders):
    return Overoptimisation().find(folders)


def gold(kl_N):
    d = np.sqrt(kl_N)
    return d * (ALPHA - BETA * np.log(d))


def write_run(folder, *, turns=True, phases=100, stage="reinforce", heldout=False, noise=0.0, without=()):
    """A run folder of one `reinforce` stage whose true reward follows the law, to far beyond the turn or to well before it."""
    folder.mkdir(exist_ok=True)
    draw = np.random.default_rng(3)
    kl_N = np.linspace(0.01, 60 if turns else 4, phases)
    columns = {"reward": kl_N / 10, "true_reward": gold(kl_N) + noise * draw.normal(size=phases), "kl": kl_N}
    if heldout:
        columns["heldout_reward"] = kl_N
    with (folder / "metrics.jsonl").open("a") as file:
        for step in range(phases):
            row = {name: float(column[step]) for name, column in columns.items() if name not in without}
            file.write(json.dumps({"stage": stage, "step": step + 1, **row}) + "\n")
    return folder


def test_the_fit_recovers_planted_constants():
    kl_N = np.linspace(0.1, 50, 200)
    assert fit(kl_N, 0.3 + gold(kl_N)) == pytest.approx((ALPHA, BETA, 0.3), abs=1e-9)


def test_the_turn_is_where_the_law_is_highest():
    kl_N = np.linspace(0.01, 60, 600_000)
    assert turn_kl(ALPHA, BETA) == pytest.approx(math.e**2)
    assert kl_N[np.argmax(gold(kl_N))] == pytest.approx(turn_kl(ALPHA, BETA), abs=1e-3)
    assert turn_kl(1.0, 0.0) == math.inf
    assert turn_kl(1.0, 1e-9) > 1e300  # no overflow


def test_the_interval_holds_the_turn():
    kl_N = np.linspace(0.1, 40, 80)
    noisy_N = gold(kl_N) + 0.02 * np.random.default_rng(1).normal(size=80)
    turn, low, high = turn_interval(kl_N, noisy_N)
    assert low < math.e**2 < high
    assert low <= turn <= high
    assert high - low < 3


def test_a_run_that_turns_is_told_from_one_that_does_not(tmp_path):
    turned = study([write_run(tmp_path / "a", noise=0.01)])
    still = study([write_run(tmp_path / "b", turns=False, noise=0.01)])
    assert turned.holds
    assert "In 1 of 1 runs" in turned.verdict
    found = re.search(r"at a KL of ([\d.]+) nats", turned.verdict)
    assert found
    assert 4 < float(found[1]) < 13  # the law is flat about its turn, at 7.4
    assert turned.rows[0][HEADER.index("KL at the fitted turn")] == pytest.approx(math.e**2, rel=0.1)
    assert not still.holds
    assert "In 0 of 1 runs" in still.verdict


def test_noise_alone_is_no_turn(tmp_path):
    folder = tmp_path / "flat"
    folder.mkdir()
    draw = np.random.default_rng(5)
    rows = [{"stage": "r", "step": i, "reward": i, "kl": i / 10, "true_reward": 0.5 + 0.1 * draw.normal()} for i in range(1, 101)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert not study([folder]).holds


def write_guarded(folder, phases):
    """A run without a guard, and one that a guard ended after so many of its phases."""
    write_run(folder, stage="free")
    kl_N = np.linspace(0.01, 60, 100)[:phases]
    with (folder / "metrics.jsonl").open("a") as file:
        for step, kl in enumerate(kl_N.tolist(), start=1):
            row = {"reward": kl, "true_reward": float(gold(np.array(kl))), "kl": kl, "heldout_reward": 0.0}
            file.write(json.dumps({"stage": "guarded", "step": step, **row}) + "\n")


@pytest.mark.parametrize(("phases", "word"), [(15, "before"), (100, "after")])
def test_a_guard_is_judged_against_the_run_beside_it(tmp_path, phases, word):
    write_guarded(tmp_path / "a", phases)
    assert f"a/guarded, with a guard, stopped {word} the fall" in study([tmp_path / "a"]).verdict


def test_runs_without_a_true_reward_are_refused(tmp_path):
    with pytest.raises(DataError, match="no stage has 20 phases with 'true_reward'"):
        study([write_run(tmp_path / "a", without=["true_reward"])])
    assert courses_of(read_record(write_run(tmp_path / "b", phases=MIN_PHASES - 1)), "b") == []


def test_a_guard_is_judged_by_the_run_in_its_own_folder_also_where_two_have_one_name(tmp_path):
    for seed, phases in ((1, 15), (2, 100)):
        (tmp_path / str(seed)).mkdir()
        write_guarded(tmp_path / f"{seed}/run", phases)
    verdict = study([tmp_path / "1/run", tmp_path / "2/run"]).verdict
    assert f"{tmp_path}/1/run/guarded, with a guard, stopped before the fall" in verdict
    assert f"{tmp_path}/2/run/guarded, with a guard, stopped after the fall" in verdict


def test_the_page_the_table_and_the_facts_agree(tmp_path):
    found, page = run_study("overoptimisation", [write_run(tmp_path / "a")], {}, None)
    assert page == tmp_path / "a" / "study-overoptimisation" / "study.html"
    text = page.read_text()
    assert found["verdict"] in text.replace("&#x27;", "'")
    assert text.count("<svg") >= 2
    facts = json.loads((page.parent / "finding.json").read_text())
    assert facts["holds"] is True
    header, row = (page.parent / "table.csv").read_text().splitlines()
    assert header.split(",")[:3] == ["run", "stage", "phases"]
    assert row.startswith("a,reinforce,100,")
    assert facts["table"][0]["phases"] == 100


def test_wrong_names_and_options_are_one_line(tmp_path):
    with pytest.raises(ConfigError, match="no study 'overoptimization'; did you mean 'overoptimisation'"):
        run_study("overoptimization", [], {}, None)
    with pytest.raises(ConfigError, match="options of stages change the study's own runs, and there are none to make"):
        run_study("overoptimisation", [tmp_path], {"free": {"phases": 2}}, None)
