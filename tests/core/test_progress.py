"""A bar on a terminal, plain lines elsewhere."""

import io

import pytest

from trivium.core import progress
from trivium.core.progress import Progress, counted, describe


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves by hand."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_plain_lines_are_rare_and_the_last_one_always_comes(clock):
    out = io.StringIO()
    with Progress("pretrain", 100, out) as bar:
        for step in range(1, 101):
            clock[0] += 0.5
            bar.update(step, f"loss {step}")
    lines = out.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["20/100", "40/100", "60/100", "80/100", "100/100"]
    assert lines[0] == "pretrain        20/100  eta  0:40  loss 20"
    assert "\x1b" not in out.getvalue()


def test_units_that_were_there_before_do_not_count_in_the_speed(clock):
    out = io.StringIO()
    with Progress("resume", 100, out) as bar:
        bar.start_at(80)
        clock[0] += 10
        bar.update(90)
    assert "eta  0:10" in out.getvalue()


def test_the_time_left_is_unknown_before_the_first_unit(clock):
    out = io.StringIO()
    with Progress("x", 10, out) as bar:
        clock[0] += 11
        bar.update(0)
    assert "eta    ?" in out.getvalue()


def test_work_of_unknown_size_shows_its_text_alone(clock):
    out = io.StringIO()
    with Progress("prepare", 0, out) as bar:
        clock[0] += 11
        bar.update(0, "3 documents")
        assert bar.seconds == 11
    assert out.getvalue() == "prepare    3 documents\n"


def test_one_is_singular():
    assert [counted(number, "unit") for number in (0, 1, 2000)] == ["0 units", "1 unit", "2,000 units"]


def test_work_of_nothing_ends(clock):
    out = io.StringIO()
    with Progress("nothing", 0, out) as bar:
        bar.update(0)
    assert out.getvalue() == ""


def test_a_terminal_gets_a_bar():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    with Progress("prefer", 4, out) as bar:
        bar.update(4, "loss 1")
    assert "prefer" in out.getvalue()
    assert "100%" in out.getvalue()


def test_numbers_are_short():
    assert describe({"loss": 2.30999, "kl": 0.02}) == "loss 2.31  kl 0.02"


def test_a_quiet_one_only_counts():
    out = io.StringIO()
    with Progress("quiet", 2, out, quiet=True) as bar:
        bar.start_at(1)
        bar.update(2, "all")
    assert out.getvalue() == ""
