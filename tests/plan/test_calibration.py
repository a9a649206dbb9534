import pytest

from trivium.plan.calibration import LayerFit, StageFit, line, load, store


def test_a_line_through_one_and_two_layers_gives_any_depth():
    base, each = line(0.05 + 0.02, 0.05 + 0.04)
    fit = LayerFit(2048, base, each, 100.0, 10.0)
    assert fit.step_seconds(32) == pytest.approx(0.05 + 32 * 0.02)
    assert fit.memory_bytes(32) == 420.0
    assert line(2.0, 1.9) == (2.0, 0.0)  # noise


def test_a_stage_is_fixed_seconds_and_units():
    assert StageFit(3.0, 0.5).seconds(10) == 8.0


def test_what_is_kept_is_found_for_the_same_machine_and_work_only(tmp_path):
    store({"gpu": "H100"}, {"width": 4096}, {"share": 0.4}, tmp_path)
    assert load({"gpu": "H100"}, {"width": 4096}, tmp_path) == {"share": 0.4}
    assert load({"gpu": "H200"}, {"width": 4096}, tmp_path) is None
    assert load({"gpu": "H100"}, {"width": 2048}, tmp_path) is None
    [file] = tmp_path.iterdir()
    file.write_text("{")
    assert load({"gpu": "H100"}, {"width": 4096}, tmp_path) is None
