"""One update: the rate of the schedule, the clipped norm, what it refuses, and what it saves."""

from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from tests.nn.tiny import tiny_model
from trivium.core.errors import ConfigError
from trivium.core.types import example
from trivium.data.pack import pack
from trivium.learn.objectives import CrossEntropy
from trivium.learn.objectives.policy import PolicyGradient
from trivium.learn.optim import AdamW
from trivium.learn.schedules import Schedule
from trivium.nn.batch import Batch
from trivium.nn.model import Model
from trivium.nn.outputs import Outputs
from trivium.train.annotate import annotate, column_of, final_scores, logprobs
from trivium.train.beside import Beside
from trivium.train.trainer import Trainer

EXAMPLES = [example(np.arange(length) % 7 + length) for length in (5, 3, 8, 6, 2)]
BATCHES = pack([(item,) for item in EXAMPLES], rows=2, length=12)


def sgd_trainer(model: Model, **options: Any) -> Trainer:
    return Trainer("policy", model, CrossEntropy(), [torch.optim.SGD(model.parameters(), lr=0.5)], schedule=Schedule(), steps=10, **options)


def moved(trainer: Trainer, step: int) -> tuple[float, dict[str, float]]:
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    report = trainer.step(step, BATCHES)
    pairs = zip(trainer.model.parameters(), before, strict=True)
    return float(torch.stack([(parameter.detach() - old).norm() for parameter, old in pairs]).norm()), report


@pytest.mark.parametrize("step", [0, 5, 9])
def test_an_update_has_the_rate_of_the_schedule_and_the_clipped_norm(step):
    distance, report = moved(sgd_trainer(tiny_model(), max_grad_norm=0.1), step)
    assert report["grad_norm"] > 0.1
    assert report["lr_factor"] == 1 - step / 10
    assert distance == pytest.approx(0.5 * 0.1 * (1 - step / 10), rel=1e-4)


def test_a_small_gradient_is_not_scaled():
    distance, report = moved(sgd_trainer(tiny_model(), max_grad_norm=100.0), 0)
    assert distance == pytest.approx(0.5 * report["grad_norm"], rel=1e-4)


def test_the_loss_is_the_mean_over_all_tokens_that_count():
    model = tiny_model()
    columns = np.concatenate([column[1:] for column in column_of(model, EXAMPLES, logprobs, rows=5, length=8)])
    assert sgd_trainer(model).step(0, BATCHES)["loss"] == pytest.approx(-columns.mean(), rel=1e-6)


def test_a_constant_length_must_be_said():
    model = tiny_model()
    with pytest.raises(ConfigError, match="'length' divides by a constant length; say which with max_length"):
        Trainer("policy", model, PolicyGradient(reduction="length"), [], schedule=Schedule(), steps=1)


def test_what_is_learned_beside_has_a_mean_of_its_own_whatever_the_micro_batches():
    model, text = tiny_model(), [(item,) for item in EXAMPLES[:3]]

    def gradients(batches: list[Batch], rows: int = 0) -> dict[str, torch.Tensor]:
        beside = Beside("replay", lambda step: text[step:], CrossEntropy(), 2.5, rows=rows, length=12) if rows else None
        return {name: gradient.clone() for name, gradient in sgd_trainer(model, beside=beside).gradients(batches, 1)[1].items()}

    both, cut = gradients(BATCHES, 4), gradients(BATCHES, 1)
    alone, beside = gradients(BATCHES), gradients(pack(text[1:], rows=4, length=12))
    for name, gradient in both.items():
        torch.testing.assert_close(gradient, alone[name] + 2.5 * beside[name], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gradient, cut[name], rtol=1e-5, atol=1e-6)


def test_a_loss_beside_is_reported_as_it_is_and_counts_coef_times():
    beside = Beside("replay", lambda _: [(EXAMPLES[0],)], CrossEntropy(), 2.5, rows=1, length=12)
    report, alone = sgd_trainer(tiny_model(), beside=beside).step(0, BATCHES), sgd_trainer(tiny_model()).step(0, BATCHES)
    only = sgd_trainer(tiny_model()).step(0, pack([(EXAMPLES[0],)], rows=1, length=12))
    assert report["replay_loss"] == pytest.approx(only["loss"])
    assert report["loss"] == pytest.approx(alone["loss"] + 2.5 * only["loss"])


def test_gradients_of_a_graph_are_added_to_memory_that_no_replay_overwrites():
    plain, replayed = sgd_trainer(tiny_model()), sgd_trainer(tiny_model())
    replayed.model.is_replayed = True
    places = []
    for step in range(2):
        assert replayed.step(step, BATCHES) == plain.step(step, BATCHES)
        assert not any(parameter.grad.any() for parameter in replayed.model.parameters())
        places.append([parameter.grad.data_ptr() for parameter in replayed.model.parameters()])
    assert places[0] == places[1]
    torch.testing.assert_close(replayed.state(), plain.state(), rtol=0, atol=0)


@pytest.mark.parametrize("options", [{}, {"tie_head": True}, {"has_scalar": True}], ids=str)
def test_a_state_survives_safetensors(options):
    def trainer(seed: int) -> Trainer:
        model = tiny_model(seed=seed, **options)
        return Trainer("policy", model, CrossEntropy(), AdamW(lr=0.01)(model), schedule=Schedule(), steps=10)

    one, other = trainer(1), trainer(2)
    one.step(0, BATCHES)
    other.load_state(load(save(one.state())))
    for both in (one, other):
        both.step(1, BATCHES)
    torch.testing.assert_close(one.state(), other.state(), rtol=0, atol=0)


def test_a_column_is_aligned_with_its_tokens_however_it_was_packed():
    model = tiny_model()
    [alone, packed] = (column_of(model, EXAMPLES, logprobs, rows=rows, length=length) for rows, length in ((1, 8), (2, 20)))
    for item, one, other in zip(EXAMPLES, alone, packed, strict=True):
        assert len(one) == len(item.tokens)
        assert one[0] == 0
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_reference_log_probs_are_those_of_the_policy_at_its_temperature(temperature):
    model = tiny_model()
    [group] = annotate([tuple(EXAMPLES)], model, "ref_logprobs", logprobs, rows=2, length=12, temperature=temperature)
    assert [item.tokens.tolist() for item in group] == [item.tokens.tolist() for item in EXAMPLES]
    with torch.no_grad():
        for batch in pack([group], rows=5, length=8):
            torch.testing.assert_close(batch["ref_logprobs"], Outputs(model, batch, temperature=temperature).logprobs_BL, rtol=0, atol=1e-6)


def test_a_final_score_is_read_at_the_last_token():
    model = tiny_model(has_scalar=True)
    scores = final_scores(model, EXAMPLES, rows=2, length=12)
    for item, score in zip(EXAMPLES, scores, strict=True):
        [batch] = pack([(item,)], rows=1, length=len(item.tokens))
        with torch.no_grad():
            assert Outputs(model, batch).scores_BL[0, -1].item() == pytest.approx(score, abs=1e-6)
