"""When a process that was asked something is given up, with a clock of ours and processes that are none."""

import os
import subprocess
import sys
import time

import pytest

from trivium.core import pulse as module
from trivium.core.processes import of_session
from trivium.core.pulse import Pulse

SLEEPS, WORKS = "S", "R"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def waited(pulse: Pulse, clock: Clock, seconds: int, every_s: int = 1) -> str:
    """The first fault that is found within so many seconds, looked for every second."""
    for _ in range(0, seconds, every_s):
        clock.now += every_s
        if why := pulse.fault():
            return why
    return ""


@pytest.fixture
def states(monkeypatch) -> dict[str, object]:
    """What the system tells: letters and seconds of a core."""
    told = {"now": (SLEEPS, 0.0)}
    monkeypatch.setattr(module, "of_session", lambda _: told["now"])
    return told


def test_one_that_neither_speaks_nor_computes_is_given_up_after_half_a_minute(clock, states):
    pulse = Pulse(1, clock)
    assert waited(pulse, clock, 30) == ""
    assert waited(pulse, clock, 2) == "it hangs: for 31 s it neither said nor computed anything"


@pytest.mark.parametrize("told", [("SR", 0.0), ("SD", 0.0), None], ids=["a child works", "waits for a disk", "nothing is told"])
def test_one_that_works_waits_for_a_disk_or_cannot_be_looked_at_has_an_hour_for_its_first_word(clock, states, told):
    pulse, states["now"] = Pulse(1, clock), told
    assert waited(pulse, clock, 3600) == ""
    assert "for 3601 s it said nothing" in waited(pulse, clock, 1)


def test_little_work_in_a_while_is_work_and_next_to_none_is_not(clock, states):
    pulse = Pulse(1, clock)
    for step in range(200):
        states["now"] = (SLEEPS, 0.01 * step)
        assert waited(pulse, clock, 1) == ""
    states["now"] = (SLEEPS, states["now"][1] + 0.04)
    assert "neither said nor computed" in waited(pulse, clock, 40)


def test_one_that_speaks_need_not_compute(clock, states):
    pulse = Pulse(1, clock)
    for _ in range(10):
        assert waited(pulse, clock, 25) == ""
        pulse.hear()


@pytest.mark.parametrize(("longest", "bound"), [(20, 600), (100, 1000)])
def test_one_that_computes_without_an_end_is_given_up_after_ten_times_its_longest_silence(clock, states, longest, bound):
    pulse, states["now"] = Pulse(1, clock), (WORKS, 0.0)
    assert waited(pulse, clock, longest) == ""
    pulse.hear()
    assert waited(pulse, clock, bound) == ""
    assert f"for {bound + 1} s it said nothing, where {longest} s was its longest silence so far" in waited(pulse, clock, 1)


def test_silence_before_it_was_asked_does_not_count(clock, states):
    pulse = Pulse(1, clock)
    clock.now = 1e4
    pulse.ask()
    assert waited(pulse, clock, 30) == ""


def test_one_that_could_not_be_heard_because_we_were_stopped_is_listened_to_first(clock, states):
    pulse = Pulse(1, clock)
    assert waited(pulse, clock, 10) == ""
    clock.now += 1e4
    assert waited(pulse, clock, 30) == ""
    states["now"] = (WORKS, 0.0)
    pulse.hear()
    clock.now += 1e4
    pulse.hear()  # before anybody looked again
    assert waited(pulse, clock, 601) == ""
    assert "where 29 s was its longest silence" in waited(pulse, clock, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is not told")
def test_a_session_is_a_process_and_what_it_has_started():
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True)\\nwhile True: pass'])"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True) as parent:
        parent.stdout.readline()
        states, before = of_session(parent.pid)
        deadline = time.monotonic() + 5
        while (now := of_session(parent.pid)[1]) < before + 0.05 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(parent.pid, 9)
    assert len(states) == 2
    assert now >= before + 0.05
    deadline = time.monotonic() + 30  # the parent was waited for; what it had started goes in its own time
    while of_session(parent.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert of_session(parent.pid) is None
