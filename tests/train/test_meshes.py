"""Ranks that share rows or layers compute what one process computes; and how a cluster is cut, of which there is only a pretence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.learn.objective_cases import CASES
from tests.stages import test_ranks as staged
from tests.train.meshes import (
    DIFFERENT,
    FOUR,
    RECIPES,
    ROWS,
    SAVED_AT,
    SHAPES,
    STEPS,
    documents,
    kept,
    packed,
    rounding,
    rows,
    text_trainer,
    train,
)
from trivium.core.config import write_toml
from trivium.data.pack import pack

ROOT = Path(__file__).parents[2]
TRAINED = {"rtol": 0, "atol": 1e-5}  # Adam divides a gradient by its own size, which enlarges what is 1e-7 in it


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """To 2e-6 of each tensor's largest number: gradients are sums, whose small numbers have the errors of the large ones."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        largest = max(1.0, float(tensor.abs().max()))
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=2e-6 * largest, msg=lambda text, name=name: f"{name}: {text}")


def launch(ranks: int, folder: Path) -> dict[str, torch.Tensor]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [*launcher, ROOT / "tests/train/meshes.py", folder]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    return load_file(folder / "meshes.safetensors")


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """What two ranks have computed, by name."""
    folder = tmp_path_factory.mktemp("meshes")
    for recipe in RECIPES:
        trainer = text_trainer("qwen3", recipe)
        train(trainer, rows("three documents"), 0, SAVED_AT)
        save_file(trainer.state(), folder / f"{recipe}.safetensors")
    return launch(2, folder)


def below(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


@pytest.mark.parametrize("name", CASES)
def test_ranks_that_share_rows_give_the_gradients_of_one_process(two_ranks, name):
    expected = kept(f"context/{name}", CASES[name].trainer(), packed(CASES[name]))
    assert_same(below(f"context/{name}/", two_ranks), expected)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_any_length_are_shared(two_ranks, shape, name):
    expected = kept(f"context/{shape}/{name}", text_trainer(shape), rows(name))
    assert_same(below(f"context/{shape}/{name}/", two_ranks), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_ranks_that_share_layers_give_the_gradients_of_one_process(two_ranks, shape):
    expected = kept(f"tensor/{shape}", text_trainer(shape), rows("three documents"))
    assert_same(below(f"tensor/{shape}/", two_ranks), expected)


@pytest.mark.parametrize("recipe", RECIPES)
def test_ranks_that_share_layers_train_save_and_go_on_as_one_process(two_ranks, recipe):
    trainer = text_trainer("qwen3", recipe)
    reports = train(trainer, rows("three documents"), 0, SAVED_AT)
    norms = torch.tensor([report["grad_norm"] for report in reports])
    torch.testing.assert_close(two_ranks[f"tensor/norms/{recipe}"], norms, rtol=1e-5, atol=0)
    for when, first in (("saved", SAVED_AT), ("resumed", STEPS)):
        train(trainer, rows("three documents"), SAVED_AT, first)
        expected = {f"tensor/{when}/{recipe}/{name}": value for name, value in trainer.state().items()}
        torch.testing.assert_close(below(f"tensor/{when}/{recipe}/", two_ranks), expected, **TRAINED)


@pytest.mark.parametrize("shared", ["context", "tensor"])
def test_compiled_blocks_share_rows_and_layers(two_ranks, shared):
    expected = kept(f"{shared}/compiled", text_trainer("llama"), rows("three documents"))
    assert_same(below(f"{shared}/compiled/", two_ranks), expected)


@pytest.mark.parametrize("inside", ["cheap", "all", "compiled"])
def test_what_is_inside_of_the_wrapping_changes_nothing(two_ranks, inside):
    expected = kept(f"wrapped/{inside}", text_trainer("llama"), pack(documents(DIFFERENT), rows=1, length=21))
    assert_same(below(f"wrapped/{inside}/", two_ranks), expected)


def test_gathering_in_bf16_rounds_as_computing_in_it_does(two_ranks):
    """Norms inside the blocks are rounded too, as they are not in one process; sums over the ranks are in fp32."""
    expected = kept("wrapped/bf16", text_trainer("llama", model=rounding()), pack(documents(DIFFERENT), rows=1, length=21))
    found = below("wrapped/bf16/", two_ranks)
    assert {value.dtype for value in found.values()} == {torch.float32}
    one, two = (torch.cat([values[name].flatten() for name in sorted(expected)]) for values in (expected, found))
    assert (two - one).norm() <= 0.02 * one.norm()


@pytest.mark.slow
def test_four_ranks_that_share_two_things_give_the_gradients_of_one_process(tmp_path):
    four_ranks = launch(4, tmp_path)
    for name in FOUR:
        expected = kept(f"four/{name}", text_trainer("llama"), pack(documents(DIFFERENT), rows=1, length=21))
        assert_same(below(f"four/{name}/", four_ranks), expected)


@pytest.mark.slow
def test_every_stage_trains_on_ranks_that_share_rows_as_one_process_does(finished, heavy, tmp_path):
    for size, words in ((1, ()), (2, ("parallel.context=2",))):
        (tmp_path / str(size)).mkdir()
        (tmp_path / str(size) / "ranked.toml").write_text(write_toml(staged.recipe(finished / "runs" / "tiny")))
        staged.finish(heavy, tmp_path / str(size), size, *words)
    for stage in staged.STAGES:
        shared, alone = (staged.weights(tmp_path / size / "out", stage) for size in "21")
        torch.testing.assert_close(shared, alone, rtol=0, atol=1e-6)
