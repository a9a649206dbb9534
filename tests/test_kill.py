"""The kill campaign in short: `python -m scripts.kill --kills 20` is the long form."""

import random

from scripts.kill import STAGES, Aim, aims, campaign


def test_a_pipeline_that_was_killed_ends_with_the_bits_of_one_that_was_not(tmp_path, capfd):
    assert campaign(tmp_path, kills=4, seed=1) == 0, capfd.readouterr().out


def test_kills_are_spread_over_all_stages_and_every_second_one_is_aimed_into_a_save():
    planned: list[Aim] = list(aims(20, dict.fromkeys(STAGES, 1.0), random.Random(3)))
    assert [aim.stage for aim in planned] == [stage for stage in STAGES for _ in range(2)]
    assert sum(aim.save > 0 for aim in planned) == 10
