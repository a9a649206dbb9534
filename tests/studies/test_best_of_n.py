"""The best of n by a reward model: its law, its turn, and how the study of over-optimisation tells of it."""

import json

import numpy as np
import pytest

from tests.studies.test_overoptimisation import write_run
from trivium.report.reading import read_record
from trivium.score.best_of import kl_of_best_of
from trivium.studies.best_of_n import FEWEST, choices_of, fit, told, turn_kl
from trivium.studies.overoptimisation import HEADER, Overoptimisation

ALPHA, BETA, FIRST = 0.6, 0.4, 0.2  # the turn is at d = 0.75, a KL of 0.5625: the best of 3 or 4


def gold(kl_N):
    return FIRST + np.sqrt(kl_N) * (ALPHA - BETA * np.sqrt(kl_N))


def write_choice(folder, *, answers=16, half=0.01, stage="best", truth=True):
    """A run folder with the selection of a stage that chose among so many answers, by the law and with intervals of +- half."""
    (folder / stage).mkdir(parents=True)
    kl_N = np.array([kl_of_best_of(n) for n in range(1, answers + 1)])
    true = [{"k": n + 1, "value": value, "low": value - half, "high": value + half, "kl": kl_N[n]} for n, value in enumerate(gold(kl_N))]
    proxy = [point | {"value": float(point["kl"])} for point in true]
    curves = {"curve": proxy, **({"true_curve": true} if truth else {})}
    (folder / stage / "selection.json").write_text(json.dumps({"keep": "best", **curves}))
    return folder


def test_the_fit_recovers_planted_constants_and_the_turn_is_where_the_law_is_highest():
    kl_N = np.array([kl_of_best_of(n) for n in range(1, 17)])
    assert fit(kl_N, gold(kl_N)) == pytest.approx((ALPHA, BETA, FIRST), abs=1e-9)
    fine_N = np.linspace(0, 3, 300_001)
    assert turn_kl(ALPHA, BETA) == pytest.approx(fine_N[np.argmax(gold(fine_N))], abs=1e-4) == 0.5625
    assert turn_kl(0.5, 0.0) == np.inf
    assert turn_kl(-0.5, 0.1) == 0  # it only falls


@pytest.mark.parametrize(("answers", "half", "turned"), [(16, 0.01, True), (16, 0.2, False), (4, 0.01, False)])
def test_a_turn_is_one_only_where_the_intervals_tell_it(tmp_path, answers, half, turned):
    [choice] = choices_of(read_record(write_choice(tmp_path / "run", answers=answers, half=half)))
    assert choice.has_turned is turned
    row = dict(zip(HEADER, choice.row, strict=True))
    assert row["KL at the fitted turn"] == pytest.approx(0.5625)
    assert (row["stage"], row["phases"], row["what was seen"]) == ("best, best of n", answers, "turned" if turned else "did not turn")
    assert row["true reward at first"] == pytest.approx(FIRST)
    assert row["reward model at the end"] == pytest.approx(kl_of_best_of(answers))


def test_without_a_true_reward_or_with_few_answers_there_is_nothing_to_tell(tmp_path):
    assert choices_of(read_record(write_choice(tmp_path / "a", truth=False))) == []
    assert choices_of(read_record(write_choice(tmp_path / "b", answers=FEWEST - 1))) == []
    assert told([]) == ""


def test_the_study_tells_of_it_beside_reinforcement_learning(tmp_path):
    finding = Overoptimisation().find([write_choice(write_run(tmp_path / "a", noise=0.01))])
    assert finding.outcome == "seen"
    assert [row[1] for row in finding.rows] == ["reinforce", "best, best of n"]
    assert "Choosing the best of n: a/best goes from a true reward of 0.200 of one answer to" in finding.verdict
    assert finding.verdict.endswith("of the best of 16 (KL 1.8) and turned.")
    assert len(finding.figures) == 3
