"""The section about tasks, and the table that is printed."""

from tests.report.fake_run import HOSTILE, tasks, write_json
from trivium.report import write_report
from trivium.report.tasks import told


def row(stage: str, measure: str, value: float, low: float | None = None, high: float | None = None) -> dict[str, object]:
    return {"stage": stage, "measure": measure, "value": value, "low": low, "high": high, "n": 4}


def test_models_stand_side_by_side_and_a_difference_that_is_more_than_chance_is_marked():
    results = [row("a", "t: acc", 0.5, 0.25, 0.75), row("b", "t: acc", 0.75, 0.5, 0.9), row("a", "t: nats", 2.0)]
    differences = [
        {"task": "t", "measure": "acc", "model": "b", "than": "a", "difference": 0.25, "low": 0.1, "high": 0.4},
        {"task": "t", "measure": "nats", "model": "b", "than": "a", "difference": 0.25, "low": -0.1, "high": 0.4},
    ]
    assert told(results, {"differences": differences}) == [
        "95 % intervals  a                 b                n",
        "t: acc          0.5 [0.25, 0.75]  0.75 [0.5, 0.9]  4",
        "t: nats         2                 -                4",
        "paired bootstrap  models  difference",
        "t: acc            b - a   +0.2500 [+0.1000, +0.4000]  *",
        "t: nats           b - a   +0.2500 [-0.1000, +0.4000]",
    ]


def test_what_is_in_a_task_is_shown_as_text(tmp_path):
    write_json(tmp_path / "evaluate/tasks.json", tasks())
    page = write_report(tmp_path).read_text()
    assert HOSTILE not in page
    assert "in the corpus" in page
    assert page.count("bits: bits_per_byte") == 1  # in the table; on the axis are shares only
