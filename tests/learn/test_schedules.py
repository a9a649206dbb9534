"""Learning-rate factors at points that can be checked by hand."""

import pytest

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
    ],  # fmt: skip
)
def test_factors(schedule, factors):
    assert [schedule(step, 10) for step in (0, 1, 5, 9)] == pytest.approx(factors)
