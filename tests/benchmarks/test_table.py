import json

import pytest

from benchmarks.contest import Contestant, Score
from benchmarks.table import Line, Work, aligned, report

FASTER = Work(
    "train", "tokens/s", [Line("a", True, 300.0), Line("b", True, 400.0), Line("p", False, 200.0), Line("q", False, 100.0)], 500.0
)
SLOWER = Work("sample", "tokens/s", [Line("a", True, 300.0), Line("p", False, 250.0)])


def test_the_ratio_is_our_best_over_the_best_peer():
    assert FASTER.ratio == 2.0


def test_where_less_is_better_the_ratio_is_how_many_times_less_ours_needs():
    work = Work("race", "seconds", [Line("a", True, 100.0), Line("b", True, 150.0), Line("p", False, 300.0)], is_cost=True)
    assert work.ratio == 3.0


def test_a_contestant_that_failed_is_shown_with_its_reason_and_not_compared():
    work = Work("train", "tokens/s", [Line("a", True, 300.0), Line("p", False, 200.0), Line("q", False, failed="no compiler")])
    assert work.ratio == 1.5
    assert "q" not in work.fields()["peers"]
    assert "no compiler" in work.text()


def test_without_a_peer_there_is_no_ratio():
    assert Work("train", "tokens/s", [Line("a", True, 300.0)]).ratio is None


def test_the_last_line_is_one_json_object_of_the_weakest_work(capsys):
    report("speed", [FASTER, SLOWER], {"peer": "1.2"})
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(found)[:8] == ["benchmark", "work", "ours", "peers", "ratio", "ceiling_share", "versions", "machine"]
    assert (found["benchmark"], found["work"], found["ours"], found["peers"], found["ratio"]) == (
        "speed",
        "sample",
        300.0,
        {"p": 250.0},
        1.2,
    )
    assert found["ceiling_share"] is None
    assert found["versions"]["peer"] == "1.2"
    assert found["machine"]["cores"] >= 1
    assert [work["ceiling_share"] for work in found["works"]] == [0.8, None]


def test_columns_of_a_table_are_as_wide_as_their_widest_cell():
    assert aligned([["", "value"], ["name", "1"]]) == "      value\nname      1"


def test_a_rate_is_the_amount_over_the_median_of_all_steps():
    answers = {"steps": [{"seconds": [1.0, 2.0, 90.0]}, {"seconds": [2.0, 4.0]}]}
    score = Score(Contestant("a", (), {}), answers=answers)
    assert score.rate("steps", 10) == 5.0
    assert score.rates("steps", 12) == pytest.approx([6.0, 4.0])
