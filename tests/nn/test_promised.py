"""Weights that come later are those that would have been there at once, to the bit; until then nothing can pass for them."""

import numpy as np
import pytest
import torch

from tests.nn.io_models import FILES, STOPS, ours
from tests.nn.tiny import tiny_config
from trivium.core.errors import DivergedError
from trivium.core.types import example
from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling
from trivium.nn.adapter import frozen_reference
from trivium.nn.io.directory import load_model, save_model
from trivium.nn.io.families import FAMILIES
from trivium.nn.model import Model, draw, draw_as_pythia, initialise
from trivium.nn.promised import drawn_later, is_hollow
from trivium.train.annotate import column_of, logprobs

TEXTS = [example([1, 5, 3, 9]), example([2, 7])]


def state(model: Model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(one: Model, other: Model) -> None:
    torch.testing.assert_close(state(one), state(other), rtol=0, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("has_scalar", [False, True])
def test_what_is_read_later_is_what_is_read_at_once(tmp_path, family, has_scalar):
    save_model(tmp_path / "model", ours(family, has_scalar=has_scalar), **FILES)
    later = load_model(tmp_path / "model", later_on="cpu", has_scalar=True)
    assert all(is_hollow(weight) for name, weight in later.named_parameters() if has_scalar or "scalar" not in name)
    later.gather()
    equal(later, load_model(tmp_path / "model", has_scalar=True))


@pytest.mark.parametrize("drawn", [draw, draw_as_pythia])
@pytest.mark.parametrize("is_tied", [False, True])
def test_what_is_drawn_later_is_what_is_drawn_at_once(drawn, is_tied):
    config = tiny_config(tie_head=is_tied)
    later = drawn_later(config, 3, "cpu", compute_dtype=torch.float32, drawn=drawn)
    assert all(is_hollow(weight) for weight in later.parameters())
    whole = initialise(Model(config), 3, drawn)
    for read, expected in zip(
        column_of(later, TEXTS, logprobs, rows=1, length=8), column_of(whole, TEXTS, logprobs, rows=1, length=8), strict=True
    ):
        np.testing.assert_array_equal(read, expected)
    equal(later, whole)


def test_they_are_there_for_who_saves_them_and_then_go_again():
    later = drawn_later(tiny_config(), 3, "cpu", compute_dtype=torch.float32)
    for is_needed in (True, False):
        with later.on_host(is_needed=is_needed):
            assert {weight.isnan().any().item() for weight in later.parameters()} == {not is_needed}
        assert all(is_hollow(weight) and weight.isnan().all() for weight in later.parameters())


def test_a_reference_of_them_has_them_or_the_same_promise():
    later = drawn_later(tiny_config(), 3, "cpu", compute_dtype=torch.float32)
    assert all(is_hollow(weight) for weight in frozen_reference(later, is_later=True).parameters())
    equal(frozen_reference(later), initialise(Model(tiny_config()), 3))
    assert all(is_hollow(weight) for weight in later.parameters())


def test_nobody_saves_or_samples_what_is_not_there_yet(tmp_path):
    save_model(tmp_path / "model", ours("llama"), **FILES)
    later = load_model(tmp_path / "model", later_on="cpu")
    with pytest.raises(DivergedError, match="not finite"):
        save_model(tmp_path / "copy", later, **FILES)
    assert not (tmp_path / "copy").exists()
    for kernels in ("torch", "native"):
        with pytest.raises(DivergedError, match="not finite"):
            Engine(later, stop_ids=STOPS, kernels=kernels).generate([np.array([1, 5])], Sampling(max_new_tokens=2), seed=0)
