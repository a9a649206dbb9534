"""Objective and reduction inside the wrapped module: the same gradients however the work is cut, spread or compiled.

The reference is always one process with one batch. That micro-batches and packing change nothing is shown for every objective in
tests/learn/test_objective_battery.py; here two ranks (FSDP2 over gloo) and torch.compile are added.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.learn.objective_cases import CASES, LONGEST
from tests.train.two_ranks import CLIPPED, RECIPES, SAVED_AT, STEPS, beside_trainer, clipped, follow, recipe_trainer, shares, train
from trivium.core.run import Run
from trivium.data.pack import pack
from trivium.nn.model import Model
from trivium.train.checkpoint import Checkpoints
from trivium.train.trainer import Trainer

ROOT = Path(__file__).parents[2]
CLOSE = {"rtol": 1e-6, "atol": 1e-6}
TRAINED = {"rtol": 0, "atol": 1e-5}  # Adam divides a gradient by its own size, which enlarges what is 1e-7 in it


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that two ranks have written into."""
    folder = tmp_path_factory.mktemp("two_ranks")
    for name in RECIPES:
        trainer = recipe_trainer(name)
        train(trainer, sum(shares(CASES["cross-entropy"])["five and one"], []), 0, SAVED_AT)
        save_file(trainer.state(), folder / f"{name}.safetensors")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        ROOT / "tests/train/two_ranks.py",
        folder,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.fixture(scope="module")
def two_ranks(launched: Path) -> dict[str, torch.Tensor]:
    return load_file(launched / "two_ranks.safetensors")


def below(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


@pytest.mark.parametrize("kind", ["even", "five and one", "one masked whole", "one empty", "packed"])
@pytest.mark.parametrize("name", CASES)
def test_two_ranks_give_the_gradients_of_one_process(two_ranks, name, kind):
    case = CASES[name]
    loss, gradients = case.gradients(sum(shares(case)[kind], []))
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())  # 8.5 of IPO
    close = {"rtol": 1e-6, "atol": 1e-6 * max(1.0, largest)}
    torch.testing.assert_close(below(f"{name}/{kind}/", two_ranks), {**gradients, "loss": loss}, **close)


@pytest.mark.parametrize("name", CLIPPED)
def test_two_ranks_clip_as_one_process_does(two_ranks, name):
    expected = clipped(CASES[name], sum(shares(CASES[name])["five and one"], []))
    assert float(torch.stack([gradient.norm() for gradient in expected.values()]).norm()) == pytest.approx(1, rel=1e-3)
    torch.testing.assert_close(below(f"{name}/clipped/", two_ranks), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_measure_what_one_process_does(launched, name):
    report = CASES[name].trainer().step(0, sum(shares(CASES[name])["five and one"], []))
    assert json.loads((launched / "reports.json").read_text())[name] == pytest.approx(report, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", RECIPES)
def test_two_ranks_train_report_and_save_what_one_process_does(launched, two_ranks, name):
    trainer = recipe_trainer(name)
    reports = train(trainer, sum(shares(CASES["cross-entropy"])["five and one"], []), 0, SAVED_AT)
    torch.testing.assert_close(below(f"{name}/saved/", two_ranks), trainer.state(), **TRAINED)
    for theirs, ours in zip(json.loads((launched / "reports.json").read_text())[name], reports, strict=True):
        assert theirs == pytest.approx(ours, rel=1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_two_ranks_go_on_from_what_one_process_saved(two_ranks, name):
    trainer = recipe_trainer(name)
    train(trainer, sum(shares(CASES["cross-entropy"])["five and one"], []), 0, STEPS)
    torch.testing.assert_close(below(f"{name}/resumed/", two_ranks), trainer.state(), **TRAINED)


@pytest.mark.parametrize("name", RECIPES)
def test_one_process_loads_what_two_ranks_saved_in_threads_while_they_trained_on(launched, two_ranks, name):
    with Run(launched / f"{name} saved", quiet=True) as run:
        run.begin("pretrain", {})
        trainer = recipe_trainer(name)
        assert Checkpoints(run).restore([trainer]) == SAVED_AT
    torch.testing.assert_close(trainer.state(), below(f"{name}/saved/", two_ranks), rtol=0, atol=0)


def test_two_ranks_share_what_is_learned_beside(two_ranks):
    loss, gradients = beside_trainer().gradients(sum(shares(CASES["ppo"])["five and one"], []))
    torch.testing.assert_close(below("beside/", two_ranks), {**gradients, "loss": loss}, **CLOSE)


def test_a_reference_follows_a_policy_that_is_spread_over_two_ranks(two_ranks):
    trainer, reference = follow(list)
    torch.testing.assert_close(below("followed/", two_ranks), trainer.state(), **TRAINED)
    torch.testing.assert_close(below("reference/", two_ranks), reference.state(), **TRAINED)


def test_a_guard_that_sees_other_numbers_on_either_rank_stops_both_where_it_stops_the_first(launched):
    ends = {"rank 1 sooner": 4, "rank 0 sooner": 3, "rank 1 alone": 5}
    for rank in (0, 1):
        assert json.loads((launched / f"watched-{rank}.json").read_text()) == ends
    said = "stopped after step 4 of 5: the held-out reward has been below its best, 0.600, for 2 phases (now 0.400)"
    assert said in (launched / "rank 1 sooner/log.txt").read_text()


def compiled_gradients(name: str, model: Model) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    trainer = CASES[name].trainer(model)
    return trainer.gradients(pack(CASES[name].groups(4), rows=4, length=2 * LONGEST))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch looks at it while tracing
@pytest.mark.parametrize("name", ["cross-entropy", "dpo", "ppo", "ranking", "value"])
def test_a_block_compiles_to_one_graph_with_the_same_gradients(name):
    model = CASES[name].model()
    for block in model.trunk.blocks:
        block.compile(dynamic=False, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled_gradients(name, model), compiled_gradients(name, CASES[name].model()), **CLOSE)


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")), reason="there is no C++ compiler")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch looks at it while tracing
@pytest.mark.parametrize("name", ["cross-entropy", "dpo", "ppo", "ranking", "value"])
def test_compiled_code_gives_the_same_gradients(name):
    model = CASES[name].model()
    model.trunk.compile_blocks()
    torch.testing.assert_close(compiled_gradients(name, model), compiled_gradients(name, CASES[name].model()), **CLOSE)


@pytest.mark.parametrize("name", CASES)
def test_an_update_says_what_every_objective_measures(name):
    trainer: Trainer = CASES[name].trainer()
    report = trainer.step(0, pack(CASES[name].groups(3), rows=4, length=2 * LONGEST))
    assert {"loss", "grad_norm", "lr_factor"} <= report.keys()
    assert all(isinstance(value, float) for value in report.values())
