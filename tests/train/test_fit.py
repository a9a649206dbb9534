"""A run that was stopped, killed, damaged or poisoned ends like one that was not, or says why it cannot."""

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.nn.tiny import VOCAB, tiny_model
from trivium.core.errors import DivergedError
from trivium.core.interrupt import Interrupted
from trivium.core.run import Run
from trivium.core.types import Example, Group
from trivium.data.pack import pack
from trivium.data.sources import Corpus
from trivium.learn.objectives import CrossEntropy
from trivium.learn.optim import AdamW, MuonAdamW
from trivium.learn.schedules import Schedule
from trivium.nn.batch import Batch
from trivium.train.checkpoint import Checkpoints
from trivium.train.fit import Hook, Layout, fit
from trivium.train.trainer import Trainer

STEPS, SAVE_MULTIPLE = 9, 2
TEXT = np.random.default_rng(1).integers(0, VOCAB, 200)


class Killed(Exception):
    """Stands for a power loss: nothing of ours catches it."""


def killed_at(step: int) -> Hook:
    def hook(done: int, _: dict[str, float]) -> None:
        if done == step:
            raise Killed

    return hook


def told_to_stop_at(step: int, number: signal.Signals) -> Hook:
    def hook(done: int, _: dict[str, float]) -> None:
        if done == step:
            os.kill(os.getpid(), number)

    return hook


@dataclass
class Poisoned:
    """The corpus, but at some steps one token weighs infinitely much; each is poisonous as often as `steps` says."""

    steps: dict[int, int] = field(default_factory=dict)
    corpus: Corpus = field(default_factory=lambda: Corpus(TEXT, seq_len=9, rows_per_step=4, seed=1))

    def __call__(self, step: int) -> Sequence[Group]:
        groups = self.corpus(step)
        if self.steps.get(step, 0) > 0:
            self.steps[step] -= 1
            groups[0] = (Example(groups[0][0].tokens, np.full(9, np.inf, np.float32)),)
        return groups


def trainers() -> list[Trainer]:
    """Two models with different optimizers, as PPO has."""
    recipes = {"policy": MuonAdamW(), "critic": AdamW(lr=0.01)}
    made = []
    for seed, (name, recipe) in enumerate(recipes.items()):
        model = tiny_model(seed=seed)
        made.append(Trainer(name, model, CrossEntropy(), recipe(model), schedule=Schedule(warmup_steps=2), steps=STEPS))
    return made


def train(
    path: Path, *hooks: Hook, source: Callable[[int], Sequence[Group]] | None = None, every_s: float = 0.0
) -> list[dict[str, torch.Tensor]]:
    """Run the stage to its end and give the state of both trainers."""
    with Run(path, quiet=True) as run:
        run.begin("pretrain", {})
        both = trainers()
        checkpoints = Checkpoints(run, every_s=every_s)
        layout = Layout(rows=2, length=20)
        fit(run, source or Poisoned(), both, steps=STEPS, layout=layout, checkpoints=checkpoints, hooks=hooks, save_multiple=SAVE_MULTIPLE)
    return [trainer.state() for trainer in both]


def metrics(path: Path) -> bytes:
    return (path / "metrics.jsonl").read_bytes()


def log(path: Path) -> str:
    return (path / "log.txt").read_text()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, torch.Tensor]], bytes]:
    """What a run without accidents ends with."""
    path = tmp_path_factory.mktemp("straight")
    return train(path), metrics(path)


def assert_as_straight(state: list[dict[str, torch.Tensor]], path: Path, straight: tuple) -> None:
    torch.testing.assert_close(state, straight[0], rtol=0, atol=0)
    assert metrics(path) == straight[1]


@pytest.mark.parametrize("step", [1, 2, 3, 6, 8, 9])
def test_a_killed_run_goes_on_and_ends_with_the_same_bits(tmp_path, straight, step):
    with pytest.raises(Killed):
        train(tmp_path, killed_at(step))
    assert_as_straight(train(tmp_path), tmp_path, straight)


def test_a_run_may_be_killed_again_and_again(tmp_path, straight):
    for step in (3, 5, 5, 7):
        with pytest.raises(Killed):
            train(tmp_path, killed_at(step))
    assert_as_straight(train(tmp_path), tmp_path, straight)


def test_how_often_it_saves_changes_nothing(tmp_path, straight):
    assert_as_straight(train(tmp_path, every_s=1e9), tmp_path, straight)


def test_a_complete_run_has_nothing_left_to_do(tmp_path, straight):
    train(tmp_path)
    assert_as_straight(train(tmp_path, killed_at(STEPS)), tmp_path, straight)


@pytest.mark.parametrize("file", ["policy.safetensors", "critic.safetensors", "state.json", "manifest.json"])
def test_a_flipped_byte_is_named_and_the_checkpoint_before_is_used(tmp_path, straight, file):
    with pytest.raises(Killed):
        train(tmp_path, killed_at(7))
    newest = tmp_path / "pretrain/checkpoints/step-00000006" / file
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    assert_as_straight(train(tmp_path), tmp_path, straight)
    assert str(newest) in log(tmp_path)
    assert "using the checkpoint before it" in log(tmp_path)


def test_when_all_checkpoints_are_damaged_the_stage_starts_again(tmp_path, straight):
    with pytest.raises(Killed):
        train(tmp_path, killed_at(7))
    for path in (tmp_path / "pretrain/checkpoints").glob("step-*/policy.safetensors"):
        path.write_bytes(b"")
    assert_as_straight(train(tmp_path), tmp_path, straight)


def test_two_checkpoints_are_kept(tmp_path):
    train(tmp_path)
    assert sorted(path.name for path in (tmp_path / "pretrain/checkpoints").iterdir()) == ["step-00000008", "step-00000009"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_exits_and_the_next_run_goes_on(tmp_path, straight, number, code):
    with pytest.raises(Interrupted, match=f"{number.name}; saved after step 6 of 9") as stopped:
        train(tmp_path, told_to_stop_at(5, number), every_s=1e9)
    assert stopped.value.exit_code == code
    assert_as_straight(train(tmp_path), tmp_path, straight)


def test_a_gradient_that_is_not_finite_is_skipped_and_said(tmp_path):
    train(tmp_path, source=Poisoned({4: 1}))
    assert "step 4: the gradient is not finite (loss nan), update skipped" in log(tmp_path)
    rows = metrics(tmp_path).splitlines()
    assert len(rows) == STEPS
    assert b"skipped" in rows[4]
    assert b"nan" not in metrics(tmp_path).lower()


def test_a_skipped_update_leaves_weights_and_optimizer_as_they_were():
    [policy, _] = trainers()
    good, bad = (pack_step(source) for source in (Poisoned(), Poisoned({0: 1})))
    policy.step(0, good)
    before = {name: tensor.clone() for name, tensor in policy.state().items()}
    assert policy.step(1, bad)["skipped"] == 1
    torch.testing.assert_close(policy.state(), before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in policy.model.parameters())


def pack_step(source: Poisoned) -> list[Batch]:
    return pack(source(0), rows=2, length=20)


def test_three_in_a_row_go_back_to_a_checkpoint_and_the_end_is_the_same_if_they_pass(tmp_path, straight):
    state = train(tmp_path, source=Poisoned({4: 1, 5: 1, 6: 1}))
    assert "going back to step 4" in log(tmp_path)
    assert_as_straight(state, tmp_path, straight)


def test_if_they_come_back_the_run_has_diverged_and_names_the_step(tmp_path):
    with pytest.raises(
        DivergedError, match="pretrain: 3 updates in a row were not finite up to step 6, again after going back"
    ) as diverged:
        train(tmp_path, source=Poisoned({4: 9, 5: 9, 6: 9}))
    assert diverged.value.exit_code == 5


def test_without_a_checkpoint_there_is_nothing_to_go_back_to(tmp_path):
    with pytest.raises(DivergedError, match="up to step 6, before there was a checkpoint"):
        train(tmp_path, source=Poisoned({4: 1, 5: 1, 6: 1}), every_s=1e9)
