"""The kill campaigns in short: `python -m scripts.kill --command NAME --kills 20` are the long form."""

import random

import pytest

from scripts.kill import COMMANDS, Aim, aims, campaign


@pytest.mark.parametrize("name", ["pipeline", *(pytest.param(name, marks=pytest.mark.slow) for name in ("writers", "study"))])
def test_what_was_killed_ends_with_the_bits_of_what_was_not_and_does_nothing_twice(tmp_path, capfd, name):
    assert campaign(tmp_path, COMMANDS[name], kills=4, seed=1) == 0, capfd.readouterr().out


def test_kills_are_spread_over_all_stages_and_every_second_one_is_aimed_into_a_save():
    stages = COMMANDS["pipeline"].stages
    planned: list[Aim] = list(aims(20, dict.fromkeys(stages, 1.0), random.Random(3)))
    assert [aim.stage for aim in planned] == [stage for stage in stages for _ in range(2)]
    assert sum(aim.save > 0 for aim in planned) == 10
