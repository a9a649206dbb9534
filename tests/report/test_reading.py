import math

import pytest

from tests.report.fake_run import write_fake_run, write_json, write_rows
from trivium.core.errors import ArtefactError
from trivium.report.reading import read_record


def test_stages_come_in_the_order_in_which_they_ended(tmp_path):
    record = read_record(write_fake_run(tmp_path, num_steps=3))
    assert record.stages == ("prepare", "tokenize", "pretrain", "finetune", "reward", "prefer", "reinforce", "evaluate")
    assert record.facts["pretrain"]["parameters"] == 4_210_000
    assert [step for step, _ in record.curves["pretrain"]["loss"]] == [1, 2, 3]


def test_an_empty_folder_is_an_empty_record(tmp_path):
    record = read_record(tmp_path)
    assert (record.stages, record.curves, record.results, record.samples, record.recipe) == ((), {}, (), (), "")


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ArtefactError, match="no such run folder"):
        read_record(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"stage": "pretrain", "st', r"metrics.jsonl line 2: damaged"),
        ("[1]", r"metrics.jsonl line 2: damaged, holds a list"),
        ('{"step": 2, "loss": 1}', r"metrics.jsonl line 2: a row needs a 'stage'"),
        ('{"stage": "pretrain", "step": 2, "loss": "low"}', r"metrics.jsonl line 2: 'loss' is 'low', not a number"),
        ('{"stage": "pretrain", "step": 2, "loss": "\\u00', r"metrics.jsonl line 2: damaged"),
    ],
)
def test_a_damaged_row_is_named_with_file_and_line(tmp_path, line, message):
    (tmp_path / "metrics.jsonl").write_text('{"stage": "pretrain", "step": 1, "loss": 2.0}\n' + line + "\n")
    with pytest.raises(ArtefactError, match=message):
        read_record(tmp_path)


def test_rows_of_an_earlier_attempt_with_other_options_are_left_out(tmp_path):
    rows = [{"stage": "pretrain", "step": step, "loss": 9.0} for step in (1, 2, 3)]
    write_rows(tmp_path / "metrics.jsonl", rows)
    offset = (tmp_path / "metrics.jsonl").stat().st_size
    write_rows(tmp_path / "metrics.jsonl", [*rows, {"stage": "pretrain", "step": 1, "loss": 5.0}])
    write_json(tmp_path / "pretrain/started.json", {"fingerprint": "x", "metrics_offset": offset})
    assert read_record(tmp_path).curves["pretrain"]["loss"] == [(1, 5.0)]


def test_null_and_enormous_numbers_are_gaps(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"stage": "a", "step": 1, "x": null, "y": NaN, "z": 1' + "0" * 400 + "}\n")
    series = read_record(tmp_path).curves["a"]
    assert math.isnan(series["x"][0][1])
    assert math.isnan(series["y"][0][1])
    assert series["z"] == [(1, math.inf)]


def test_a_result_without_a_measure_is_named(tmp_path):
    write_json(tmp_path / "results.json", [{"stage": "pretrain", "measure": "loss", "value": 1}, {"stage": "finetune", "value": 2}])
    with pytest.raises(ArtefactError, match="results.json entry 2: 'measure' is missing"):
        read_record(tmp_path)


def test_the_digest_of_a_step_is_no_curve(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"stage": "a", "step": 1, "data_xxh3": "0f", "loss": 2.0}\n')
    assert set(read_record(tmp_path).curves["a"]) == {"loss"}
