"""The model that is kept is the one that was measured best, after a restart too."""

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from tests.nn.tiny import tiny_model
from trivium.train.best import Best


def walk(best: Best, values: list[float], scores: list[list[float]], *, first: int = 1) -> list[dict[str, float]]:
    """Set the first weight to each value in turn, with the score that goes with it."""
    rows = []
    for step, (value, score) in enumerate(zip(values, scores, strict=True), start=first):
        with torch.no_grad():
            best.model.trunk.final_norm.weight.fill_(value)
        best.measures = [lambda score=score: {"heldout_reward": score}]
        rows.append({})
        best(step, rows[-1])
    return rows


def made(**options: object) -> Best:
    return Best(tiny_model(), [], options.pop("is_due", lambda _: True), by="heldout_reward", **options)


def kept(best: Best) -> tuple[int, float]:
    best.take_back()
    return best.step, best.model.trunk.final_norm.weight[0].item()


def test_it_records_means_and_keeps_the_best_the_earlier_of_equals():
    best = made()
    rows = walk(best, [1.0, 2.0, 3.0, 4.0], [[1, 2], [3, 4], [4, 3], [0, 1]])
    assert rows == [{"heldout_reward": value} for value in (1.5, 3.5, 3.5, 0.5)]
    assert kept(best) == (2, 2.0)


def test_of_a_loss_the_least_is_the_best():
    best = made(sign=-1)
    walk(best, [1.0, 2.0, 3.0], [[2.0], [1.0], [3.0]])
    assert kept(best) == (2, 2.0)


def test_it_measures_when_it_is_due_only():
    best = made(is_due=lambda done: done % 2 == 0)
    assert walk(best, [1.0, 2.0, 3.0], [[9.0], [1.0], [8.0]]) == [{}, {"heldout_reward": 1.0}, {}]
    assert kept(best) == (2, 2.0)


@pytest.mark.parametrize("by", ["heldout_reward", ""])
def test_a_number_that_is_none_is_never_the_best_and_without_a_metric_nothing_is_kept(by):
    best = made()
    best.by = by
    walk(best, [1.0, 2.0], [[float("nan")], [float("nan")]])
    assert kept(best) == (0, 2.0)
    assert not best.weights


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_a_run_that_goes_on_keeps_what_it_would_have_kept(cut):
    values, scores = [1.0, 2.0, 3.0], [[1.0], [3.0], [2.0]]
    first, second = made(), made()
    walk(first, values[:cut], scores[:cut])
    second.load_state(load(save(first.state())))
    walk(second, values[cut:], scores[cut:], first=cut + 1)
    assert kept(second) == (2, 2.0)


def test_frozen_weights_are_not_copied():
    best = made()
    for name, weight in best.model.named_parameters():
        weight.requires_grad_(name == "trunk.final_norm.weight")
    walk(best, [1.0], [[1.0]])
    assert list(best.weights) == ["trunk.final_norm.weight"]
    assert np.isfinite(best.score)
