"""The contest of pre-training at tiny size, and what its table says."""

import argparse

import pytest
import torch

from benchmarks import pretrain
from benchmarks.contest import Contestant, Score
from benchmarks.shapes import SHAPES, palm_flops_per_token
from trivium.core.errors import ConfigError
from trivium.nn.flops import flops_per_token, num_parameters

GIB = 2**30


@pytest.fixture(autouse=True)
def _same_settings_of_torch_afterwards():
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


@pytest.mark.slow
def test_the_command_runs_on_a_cpu(monkeypatch, capsys):
    monkeypatch.setattr(pretrain, "matmul_flops", lambda *_, **__: 1e11)
    tiny = ["--preset", "tiny", "--device", "cpu", "--ours", "torch", "--optimizers", "adamw", "--peers", "--rounds", "1", "--steps", "1"]
    facts = pretrain.main(tiny)
    assert facts["work"] == "train L1 d64 V128, 2 rows of 32"
    assert facts["ours"] > 0
    assert "peak GiB" in capsys.readouterr().out


def test_the_profile_lists_what_remains(monkeypatch, capsys):
    monkeypatch.setattr("trivium.stages.machine._matmul_flops", lambda *_: 1e9)
    tiny = ["--preset", "tiny", "--profile", "--ours", "torch", "--optimizers", "adamw"]
    assert pretrain.main(tiny) == {}
    printed = capsys.readouterr().out
    assert printed.startswith("trivium, torch, adamw, tiny\n")
    assert "aten::mm" in printed
    assert "Self CPU time total" in printed


@pytest.mark.parametrize(("name", "millions"), [("124m", 162), ("410m", 407), ("1.3b", 1411)])
def test_the_shapes_have_the_size_of_their_name_but_for_an_untied_head(name, millions):
    config = SHAPES[name].config()
    assert num_parameters(config) == pytest.approx(millions * 1e6, rel=5e-3)
    assert config.num_heads * config.head_dim == config.hidden_size


def test_utilisation_as_others_count_it_has_all_of_the_attention():
    shape = SHAPES["124m"]
    config = shape.config()
    matrices = 12 * (4 * 768**2 + 3 * 768 * 2048) + 768 * 50304
    assert palm_flops_per_token(config, 1024) == 6 * matrices + 12 * 12 * 768 * 1024
    assert flops_per_token(config, 1024) < palm_flops_per_token(config, 1024)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_contestants_have_one_shape_and_one_device(device):
    chosen = argparse.Namespace(quick=False, device=device, micro_batch_rows=0, ours=None, optimizers=["adamw"], peers=[])
    found = pretrain.contestants(SHAPES["410m"], chosen)
    assert [one.name for one in found] == [f"trivium, {name}, adamw" for name in pretrain.OURS[device]]
    for one in found:
        assert one.options["device"] == device
        assert one.options["compile"] == (device == "cuda")
        assert one.options["rows"] == one.options["micro_batch_rows"] == 16


def test_a_table_says_shares_of_what_was_measured_and_of_the_data_sheet():
    options = {"rows": 2, "precision": "bfloat16"}
    answer = {"seconds": [2.0], "peak_bytes": 3 * GIB}
    scores = [
        Score(Contestant("ours", (), options, True), answers={"steps": [answer]}),
        Score(Contestant("peer", (), options), answers={"steps": [answer | {"seconds": [4.0]}]}),
        Score(Contestant("broken", (), options), failed="out of memory"),
    ]
    shape = SHAPES["tiny"]
    found = pretrain.work(scores, shape, {"bfloat16": 32 * 2 * flops_per_token(shape.config(), 32)}, peak=1e9)
    ours = found.lines[0]
    assert (ours.value, found.ratio, found.lines[2].failed) == (32.0, 2.0, "out of memory")
    assert found.fields()["ceiling_share"] == 0.5
    assert ours.notes["of its own ceiling"] == "50%"
    assert ours.notes["MFU (PaLM's count)"] == f"{32 * palm_flops_per_token(shape.config(), 32) / 1e9:.1%}"
    assert ours.notes["peak GiB"] == "3.0"


def test_targets_are_of_the_shapes_that_have_one():
    [line] = pretrain.targets(["tiny", "1.3b"])
    assert line.startswith("target at 1.3b on one H100 SXM: 60,000 tokens/s (llm-foundry")


@pytest.mark.parametrize("count", [0, 2])
def test_a_gpu_is_needed_for_its_contest_and_only_one(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(ConfigError, match=f"torch finds {count} GPUs"):
        pretrain.parsed(["--device", "cuda"])
