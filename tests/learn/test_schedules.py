"""Learning-rate factors at points that can be checked by hand."""

import pytest

from trivium.core.config import build
from trivium.core.errors import ConfigError
from trivium.learn.schedules import Schedule


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Schedule(), [1, 0.9, 0.5, 0.1]),
        (Schedule(decay_share=0), [1, 1, 1, 1]),
        (Schedule(floor=0.2), [1, 0.92, 0.6, 0.28]),
        (Schedule(decay_share=0.5), [1, 1, 1, 0.2]),
        (Schedule(shape="cosine"), [1, 0.97552826, 0.5, 0.02447174]),
        (Schedule(shape="cosine", decay_share=0.5, floor=0.5), [1, 1, 1, 0.54774575]),
        (Schedule(warmup_steps=3), [0.25, 0.5, 1 - 2 / 7, 1 - 6 / 7]),
        (Schedule(warmup_steps=5, decay_share=0.9), [1 / 6, 1 / 3, 1, 0.2]),
        (Schedule(warmup_steps=50), [1 / 51, 2 / 51, 6 / 51, 10 / 51]),
        (Schedule(warmup_share=0.3), [0.25, 0.5, 1 - 2 / 7, 1 - 6 / 7]),
        (Schedule(warmup_share=0.21), [0.25, 0.5, 1 - 2 / 7, 1 - 6 / 7]),
        (Schedule(warmup_share=0.1, warmup_steps=3), [0.25, 0.5, 1 - 2 / 7, 1 - 6 / 7]),
        (Schedule(shape="exponential", floor=0.01), [1, 0.01**0.1, 0.1, 0.01**0.9]),
        (Schedule(constant=0.5, decay_share=0), [0.5, 0.5, 0.5, 0.5]),
        (Schedule(constant=0.5, decay_share=0.2, floor=0.1), [0.5, 0.5, 0.5, 0.3]),
        (Schedule(constant=0.5, decay_share=0, warmup_steps=1), [0.25, 0.5, 0.5, 0.5]),
        (Schedule(cooldown_share=0.4, constant=0.2, decay_share=0, warmup_steps=1), [0.5, 1, 0.2, 0.2]),
    ],
    ids=[
        "linear",
        "constant",
        "floor",
        "half",
        "cosine",
        "late cosine",
        "warm-up",
        "warm-up is never cut",
        "all warm-up",
        "share",
        "share rounded up",
        "the longer one",
        "exponential",
        "going on at a constant rate",
        "and ending it",
        "going on with a warm-up",
        "cool-down",
    ],  # fmt: skip
)
def test_factors(schedule, factors):
    assert [schedule(step, 10) for step in (0, 1, 5, 9)] == pytest.approx(factors)


def test_rewarming_and_redecay_at_the_points_of_the_paper():
    """Ibrahim et al. 2024: 0 to the peak over 1 % of the budget, then a cosine over the rest to a tenth."""
    schedule = Schedule(warmup_share=0.01, shape="cosine", floor=0.1)
    assert [schedule(step, 1000) for step in (-1, 10, 505, 1000)] == pytest.approx([0, 1, 0.55, 0.1])


def test_the_four_phases_of_the_infinite_schedule():
    schedule = Schedule(warmup_share=0.1, cooldown_share=0.2, constant=0.4, decay_share=0.1, shape="exponential", floor=0.1)
    factors = {step: schedule(step, 100) for step in (9, 10, 20, 29, 30, 60, 89, 90, 95, 100)}
    assert factors == pytest.approx(
        {9: 10 / 11, 10: 1, 20: 0.7, 29: 0.6 * 0.00615583 + 0.4, 30: 0.4, 60: 0.4, 89: 0.4, 90: 0.4, 95: 0.2, 100: 0.1}, abs=1e-6
    )


def test_the_end_of_the_constant_phase_is_where_new_text_begins():
    """What is trained on first ends at the rate that going on starts with, so nothing is warmed again."""
    first = Schedule(warmup_steps=2, cooldown_share=0.3, constant=0.5, decay_share=0)
    going_on, ending = Schedule(constant=0.5, decay_share=0), Schedule(constant=0.5, decay_share=0.1, floor=0.05)
    assert first(99, 100) == going_on(0, 1000) == going_on(999, 1000) == ending(0, 50) == 0.5
    assert ending(50, 50) == pytest.approx(0.05)


def test_cooling_down_by_the_root_is_steep_at_first_and_ends_where_the_cosine_does():
    root, wave = (Schedule(cooldown_share=1.0, constant=0.5, decay_share=0, cooldown=kind) for kind in ("sqrt", "cosine"))
    assert root(0, 100) == wave(0, 100) == 1
    assert root(10, 100) == pytest.approx(1 - 0.5 * (1 - 2**-0.5) / (1 - 11**-0.5))
    assert root(10, 100) < wave(10, 100)
    assert root(100, 100) == wave(100, 100) == 0.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"constant": 0.1, "floor": 0.2}, "constant is 0.1, below floor, 0.2"),
        ({"shape": "exponential"}, "never reaches a floor of 0; give floor"),
        ({"cooldown_share": 0.5, "decay_share": 0.6}, "are 1.1 of the run together; set decay_share lower"),
    ],
)  # fmt: skip
def test_phases_that_do_not_fit_are_one_line(options, words):
    with pytest.raises(ConfigError, match=words):
        build(Schedule, options)
