"""What `prefer` measures on pairs it was not trained on, and what becomes of preferences that are too long."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.stages.test_alignment import log, place, run, write
from trivium.core.errors import ConfigError, DataError
from trivium.core.types import example
from trivium.report.intervals import mean_interval, share_interval
from trivium.stages.computing.heldout_pairs import HeldoutPairs

__all__ = ["place"]  # the fixture that makes the folder
LONG = {"prompt": "king", "responses": ["sea " * 100, "no"], "ranking": [[0], [1]]}


def measured(out: str = "out") -> dict[str, dict[str, float]]:
    return {row["measure"]: row for row in json.loads((Path(out) / "prefer/results.json").read_text())}


def test_training_on_the_same_pairs_raises_the_implicit_accuracy_of_them():
    run("prefer", steps=30, heldout="pairs.jsonl", optimizer={"lr": 3e-3})
    found = measured()
    assert found["implicit_accuracy"]["value"] > 0.9
    assert found["implicit_accuracy"]["low"] > 0.5
    assert found["implicit_margin"]["value"] > 0.1
    assert found["implicit_accuracy"]["n"] == 18  # six rankings of three answers
    assert found["logprob_accuracy"]["value"] >= found["logprob_accuracy_before"]["value"]


def test_reversed_pairs_are_measured_as_such():
    rows = [json.loads(line) for line in Path("pairs.jsonl").read_text().splitlines()]
    write(Path("reversed.jsonl"), [row | {"scores": [-score for score in row["scores"]]} for row in rows])
    run("prefer", steps=30, heldout="reversed.jsonl", optimizer={"lr": 3e-3})
    assert measured()["implicit_accuracy"]["value"] < 0.1


def test_a_model_that_did_not_move_is_at_a_half():
    run("prefer", steps=1, heldout="pairs.jsonl", optimizer={"lr": 1e-30})
    found = measured()
    assert found["implicit_accuracy"]["value"] == 0.5
    assert found["implicit_margin"]["value"] == 0
    assert found["logprob_accuracy"] == found["logprob_accuracy_before"] | {"measure": "logprob_accuracy"}


@pytest.mark.parametrize("kind", ["prefer", "reward"])
def test_preferences_that_are_too_long_are_left_out_and_counted(kind):
    write(Path("mixed.jsonl"), [json.loads(line) for line in Path("pairs.jsonl").read_text().splitlines()] + [LONG])
    run(kind, data="mixed.jsonl", heldout="mixed.jsonl", steps=2, batch_size=4, seq_len=64)
    assert log().count("mixed.jsonl: 6 of 7 preferences fit in 64 tokens; the others are left out") == 2


@pytest.mark.parametrize("kind", ["prefer", "reward"])
def test_a_file_of_which_nothing_fits_is_one_line(kind):
    write(Path("long.jsonl"), [LONG])
    with pytest.raises(DataError, match="^long.jsonl: none of 1 preferences fits in 64 tokens, prompt and answer together; raise seq_len$"):
        run(kind, data="long.jsonl", heldout="pairs.jsonl", steps=2, batch_size=4, seq_len=64)


def test_intervals_know_that_the_pairs_of_a_prompt_are_alike():
    """Twenty prompts, each with 36 pairs that all come out alike: no more is known than from twenty pairs."""
    draw = np.random.default_rng(1)
    sizes, gained = [36] * 20, np.repeat(draw.normal(size=20), 36)
    pairs = HeldoutPairs([(example([1, 2]), example([1, 3]))] * 720, sizes, np.zeros((720, 2)), 4, 8)
    after_N2 = np.stack([gained, np.zeros(720)], axis=1)
    found = {row["measure"]: row for row in pairs.rows_of(after_N2, "prefer")}
    one_each = share_interval(float((gained[::36] > 0).sum()), 20)
    assert found["implicit_accuracy"]["value"] == one_each[0]
    assert found["implicit_accuracy"]["high"] - found["implicit_accuracy"]["low"] == pytest.approx(one_each[2] - one_each[1], rel=0.1)
    assert found["implicit_margin"]["low"] == pytest.approx(mean_interval(gained[::36].tolist())[1])


@pytest.mark.parametrize("kind", ["prefer", "reward"])
@pytest.mark.parametrize("where", ["data", "heldout"])
def test_a_file_of_ties_is_refused_by_name_before_training(kind, where):
    write(Path("ties.jsonl"), [{"prompt": "king", "responses": ["a", "b"], "scores": [1, 1]}])
    files = {"data": "pairs.jsonl", "heldout": "pairs.jsonl"} | {where: "ties.jsonl"}
    with pytest.raises(DataError, match="^ties.jsonl: gives no pairs; all answers to a prompt are equal or tied$"):
        run(kind, **files, steps=2, batch_size=4, seq_len=64)
    assert not Path("out/metrics.jsonl").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minibatches": 9}, "'minibatches' is 9, more than prompts_per_phase, 4"),
        ({"overlong_margin": 50}, "'overlong_margin' is 50, more than sampling.max_new_tokens, 6"),
        ({"disagreement_coef": 1.0}, "disagreement_coef is for several reward models"),
    ],
)
def test_amounts_that_do_nothing_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        run("reinforce", reward_model="judge", **options)


def test_a_reward_model_does_not_speak():
    with pytest.raises(ConfigError, match="a reward model or critic does not speak"):
        run("reinforce", model="judge", rewards=[{"kind": "length", "max_words": 1}])
