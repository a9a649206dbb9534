"""The kill campaigns in short: `python -m scripts.kill --command NAME --kills 20` are the long form."""

import random
import signal
import subprocess
import sys

import pytest

from scripts import kill_rank
from scripts.kill import COMMANDS, Aim, aims, campaign
from tests.fork_server import ROOT


@pytest.mark.parametrize("name", ["pipeline", *(pytest.param(name, marks=pytest.mark.slow) for name in ("writers", "online", "study"))])
def test_what_was_killed_ends_with_the_bits_of_what_was_not_and_does_nothing_twice(tmp_path, capfd, name):
    assert campaign(tmp_path, COMMANDS[name], kills=4, seed=1) == 0, capfd.readouterr().out


def test_kills_are_spread_over_all_stages_and_every_second_one_is_aimed_into_a_save():
    stages = COMMANDS["pipeline"].stages
    planned: list[Aim] = list(aims(20, dict.fromkeys(stages, 1.0), random.Random(3)))
    assert [aim.stage for aim in planned] == [stage for stage in stages for _ in range(2)]
    assert sum(aim.save > 0 for aim in planned) == 10


PLANTED = """
import sys
from pathlib import Path
from scripts.planted import plant
plant(Path(sys.argv[1]), "colorsys", "rgb_to_hsv", 2, sys.argv[2] == "after")
from colorsys import rgb_to_hsv
for number in range(3):
    print(number, rgb_to_hsv(1, 0, 0), flush=True)
"""


@pytest.mark.parametrize(("when", "lines"), [("before", 1), ("after", 1)])
def test_what_is_planted_dies_at_its_call_and_only_once(tmp_path, when, lines):
    command = [sys.executable, "-c", PLANTED, str(tmp_path / "told"), when]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT) for _ in range(2))
    assert (first.returncode, len(first.stdout.splitlines())) == (-signal.SIGKILL, lines)
    assert (second.returncode, len(second.stdout.splitlines())) == (0, 3)


@pytest.mark.slow
def test_a_rank_that_is_killed_at_every_point_costs_nothing_but_time(tmp_path, capfd):
    assert kill_rank.campaign(tmp_path, kill_rank.COMMAND, kill_rank.POINTS) == 0, capfd.readouterr().out
