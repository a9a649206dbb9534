"""The published tables, in miniature: the same columns, and verdicts that can be checked by hand."""

import csv
import gzip
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from trivium.core.errors import DataError
from trivium.studies.batch_size import BatchSize, is_neutral
from trivium.studies.dedup import Pair, _planted_controls, control
from trivium.studies.released import TASKS, arithmetic_means, batch_pairs, read_evaluations, task_means
from trivium.studies.released_bias import released_changes
from trivium.studies.run import run_study

# 8-task zero-shot means at the last step, standard and deduplicated, as methods give them for the real table
MEANS = {"70m": (37.99, 37.94), "160m": (42.56, 42.41), "410m": (50.66, 49.47), "1b": (50.59, 51.07), "1.4b": (52.55, 54.02),
         "2.8b": (54.98, 54.89), "6.9b": (56.69, 58.31), "12b": (59.98, 59.00)}  # fmt: skip
LAMBADA = {"1.4b": (57.8, 56.0, "1M"), "1b": (50.7, 52.0, "0.5M"), "410m": (45.5, 48.3, "0.5M"), "160m": (25.7, 29.3, "0.5M"),
           "70m": (12.5, 17.8, "0.25M")}  # fmt: skip


# Rows of the tables that were released (EleutherAI/pythia @ a19eecb807ec, evals/pythia-v1, Apache-2.0), of the last step, as they are there
RELEASED = Path(__file__).parent / "pythia_released.csv"


def test_the_released_means_and_their_difference_are_the_published_ones(tmp_path):
    means = task_means(read_evaluations(RELEASED))
    assert [size for size, *_ in means] == list(MEANS)
    for size, standard, deduplicated in means:
        assert (100 * standard.mean, 100 * deduplicated.mean) == pytest.approx(MEANS[size], abs=0.025)  # published with rounded tasks
    facts, _ = run_study("dedup", [], {"released": str(RELEASED)}, tmp_path)
    assert facts["outcome"] == "seen"
    assert np.mean([row["difference"] for row in facts["table"]]) == pytest.approx(0.14, abs=0.01)
    assert [row["difference"] > 0 for row in facts["table"]] == [False, False, False, True, True, False, True, False]


def test_the_released_batch_sizes_are_the_published_ones_and_two_models_are_too_few_to_tell(tmp_path):
    found = batch_pairs(read_evaluations(RELEASED))
    assert {size: (round(100 * large.mean, 1), round(100 * small.mean, 1)) for size, large, small in found} == {
        size: (large, small) for size, (large, small, _) in LAMBADA.items()
    }
    facts, _ = run_study("batch_size", [], {"released": str(RELEASED)}, tmp_path)
    assert facts["outcome"] == "cannot tell"  # of 1b the interval goes from -3.2 to +0.6 points
    assert "below 1B it costs 3.9 points on average" in facts["verdict"]
    assert all(row["high"] < 0 for row in facts["table"][:3])  # below 1B it does


def test_the_released_intervention_changed_no_share_clearly(tmp_path):
    found = {change.name: (change.before.value, change.after.value) for change in released_changes(RELEASED)}
    published = {
        "70m, intervention": (0.562, 0.578), "410m, intervention": (0.619, 0.619), "1.4b, intervention": (0.616, 0.616),
        "1.4b, intervention, long": (0.616, 0.606), "6.9b, intervention": (0.672, 0.678),
    }  # fmt: skip
    assert found == {name: pytest.approx(shares, abs=0.00051) for name, shares in published.items()}
    facts, _ = run_study("gender", [], {"released": str(RELEASED)}, tmp_path)
    assert facts["outcome"] == "not seen"
    assert "lower in 0, higher in 0 and not clearly changed in 5" in facts["verdict"]


@pytest.fixture
def table(tmp_path):
    rows = []
    for size, (standard, deduplicated) in MEANS.items():
        for run, mean in ((f"pythia-{size}{'-bf16' if size == '1b' else ''}", standard), (f"pythia-{size}-deduped", deduplicated)):
            for step, value in ((1000, 20.0), (143000, mean)):
                rows += [[run, "zero-shot", step, task, "acc", value / 100 + (i - 3.5) / 1000] for i, task in enumerate(TASKS)]
                rows += [[run, "zero-shot", step, task, "acc_stderr", 0.01] for task in TASKS]
    for size, (large, small, batch) in LAMBADA.items():
        name = f"pythia-{size}{'-bf16' if size == '1b' else ''}"
        for run, shots, value in ((name, "five-shot", large), (f"pythia-{size}-{batch}tokBS", "", small)):
            rows += [
                [run, shots, 143000, "lambada_openai", "acc", value / 100],
                [run, shots, 143000, "lambada_openai", "acc_stderr", 0.002],
            ]
    return write(tmp_path / "evals.csv.gz", rows)


def write(path, rows):
    with gzip.open(path, "wt", newline="") as file:
        csv.writer(file).writerows([["run", "shots", "step", "task", "metric", "value"], *rows])
    return path


def test_means_over_tasks_and_their_errors_by_hand(table):
    means = task_means(read_evaluations(table))
    assert [size for size, *_ in means] == list(MEANS)
    for size, standard, deduplicated in means:
        assert (100 * standard.mean, 100 * deduplicated.mean) == pytest.approx(MEANS[size])
        assert standard.error == pytest.approx(0.01 / 8**0.5)


def test_deduplication_has_no_clear_effect_on_the_suite(table, tmp_path):
    facts, _ = run_study("dedup", [], {"released": str(table)}, tmp_path)
    assert facts["outcome"] == "seen"
    assert "No clear effect: +0.14 points, 90 % interval -0.54 to +0.82" in facts["verdict"]
    assert [row["difference"] for row in facts["table"]][:2] == pytest.approx([-0.05, -0.15])
    half = 1.96 * 100 * math.hypot(0.01 / 8**0.5, 0.01 / 8**0.5)  # of the difference of two means of eight tasks
    assert (facts["table"][0]["low"], facts["table"][0]["high"]) == pytest.approx((-0.05 - half, -0.05 + half))


def test_the_large_batch_is_neutral_from_1b_on_and_costs_below(table, tmp_path):
    assert [size for size, *_ in batch_pairs(read_evaluations(table))] == ["70m", "160m", "410m", "1b", "1.4b"]
    facts, _ = run_study("batch_size", [], {"released": str(table)}, tmp_path)
    assert facts["outcome"] == "seen"
    assert "below 1B it costs 3.9 points on average" in facts["verdict"]  # (5.3 + 3.6 + 2.8) / 3
    assert "1.4b 57.8 and 56.0" in facts["verdict"]


def test_arithmetic_is_averaged_over_operands(tmp_path):
    rows = [["a/big", 13000 * step, f"num_reasoning_arithmetic_addition_{x}", shots, step * x / 10] for step in (1, 2) for x in (0, 1, 2)
            for shots in (0, 16)]  # fmt: skip
    with (tmp_path / "terms.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["model", "checkpoint", "task", "fewshot", "acc"], *rows])
    half = 4.30265 / 3**0.5  # of three operands, times their deviation
    assert arithmetic_means(tmp_path / "terms.csv") == {
        ("big", "addition"): {
            13000: pytest.approx((0.1, 0.1 - 0.1 * half, 0.1 + 0.1 * half)),
            26000: pytest.approx((0.2, 0.2 - 0.2 * half, 0.2 + 0.2 * half)),
        }
    }
    facts, _ = run_study("term_frequency", [], {"released": str(tmp_path / "terms.csv")}, tmp_path)
    assert facts["outcome"] == "cannot tell"
    assert "does 20.0% of addition at step 26,000" in facts["verdict"]


def test_other_tables_are_refused_in_one_line(tmp_path, table):
    (tmp_path / "other.csv").write_text("run,step\na,1\n")
    with pytest.raises(DataError, match="other.csv line 2: 'shots' is missing"):
        read_evaluations(tmp_path / "other.csv")
    with pytest.raises(DataError, match="there is no such file"):
        read_evaluations(tmp_path / "gone.csv")
    (tmp_path / "cut.csv.gz").write_bytes(table.read_bytes()[:200])
    with pytest.raises(DataError, match="cut.csv.gz"):
        read_evaluations(tmp_path / "cut.csv.gz")


@pytest.mark.parametrize(("large", "error", "outcome"), [(50.7, 0.007, "cannot tell"), (50.7, 0.002, "seen"), (48.0, 0.002, "not seen")])
def test_the_rule_of_batch_sizes_asks_the_intervals(tmp_path, large, error, outcome):
    rows = []
    for run, value in (("pythia-1b", large), ("pythia-1b-0.5MtokBS", 52.0)):
        rows.append([run, "five-shot", 1, "lambada_openai", "acc", value / 100])
        rows.append([run, "five-shot", 1, "lambada_openai", "acc_stderr", error])
    facts, _ = run_study("batch_size", [], {"released": str(write(tmp_path / "evals.csv.gz", rows))}, tmp_path)
    assert facts["outcome"] == outcome
    write(tmp_path / "evals.csv.gz", rows[:1] + rows[2:])
    with pytest.raises(DataError, match="no 'acc_stderr' of lambada_openai"):
        run_study("batch_size", [], {"released": str(tmp_path / "evals.csv.gz")}, tmp_path / "again")


def test_a_difference_that_is_too_wide_fails_its_control():
    assert is_neutral([0.0], [2.5]) is None
    assert is_neutral([0.0, -5.0], [1.0, 1.0]) is False
    assert is_neutral([3.0, -1.0], [1.0, 1.0]) is True


@pytest.mark.parametrize(
    ("lost", "positive", "negative"), [([4.0, 4.2, 3.9], True, False), ([0.1, -0.1, 0.0], False, True), ([-9.0, 9.0, 1.0], False, False)]
)
def test_controls_of_deduplication_need_the_answer_to_be_shown(lost, positive, negative):
    assert control("worse", lost, 1.0, is_positive=True).is_right is positive
    assert control("the same", lost, 1.0, is_positive=False).is_right is negative


def test_pairs_that_scatter_too_much_fail_the_planted_controls():
    pairs = [Pair(str(number), (50.0, 50.0 + difference), None, None) for number, difference in enumerate((9.0, -9.0, 1.0))]
    assert [each.is_right for each in _planted_controls(pairs, 1.0)] == [False, False]
    assert all(each.is_right for each in _planted_controls(pairs[:1], 1.0))


@pytest.mark.parametrize("scale", [math.inf, -3.0])
def test_without_a_noise_scale_one_cannot_tell(scale):
    arms = [SimpleNamespace(batch_tokens=size, steps=1, more=(0.0, -0.1, 0.1)) for size in (1, 2)]
    verdict, holds = BatchSize()._judged(arms, scale)
    assert holds is None
    assert "There is no noise scale" in verdict
    assert BatchSize()._judged(arms, 5.0)[1] is True


EVALUATIONS, ARITHMETIC = "run,shots,step,task,metric,value\n", "model,checkpoint,task,fewshot,acc\n"


@pytest.mark.parametrize(
    ("read", "text", "says"),
    [
        (read_evaluations, EVALUATIONS + "a,zero-shot,1,piqa,acc,abc\n", "line 2: 'value' is 'abc'; a number is expected"),
        (read_evaluations, EVALUATIONS + "a,zero-shot,,piqa,acc,0.5\n", "line 2: 'step' is ''; a number is expected"),
        (read_evaluations, EVALUATIONS + "a,zero-shot,1\n", "line 2: has 3 cells, the header has 6"),
        (arithmetic_means, ARITHMETIC + "a/b,1,addition,16,0.5\n", "line 2: 'task' is 'addition'; num_reasoning_arithmetic_"),
        (arithmetic_means, ARITHMETIC + "a/b,1,num_reasoning_arithmetic_addition_1,many,0.5\n", "line 2: 'fewshot' is 'many'"),
        (
            released_changes,
            "run,step,task,metric,value\nbaseline-1b-deduped,1,crows_pairs_english_gender,pct_stereotype,x\n",
            "'value' is 'x'",
        ),
        (
            released_changes,
            "run,step,task,metric,value\nbaseline-1b-deduped,a,crows_pairs_english_gender,pct_stereotype,1\n",
            "'step' is 'a'",
        ),
    ],
)
def test_a_damaged_row_is_named(tmp_path, read, text, says):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(DataError, match=f"table.csv line 2: .*{says.removeprefix('line 2: ')}"):
        read(tmp_path / "table.csv")
