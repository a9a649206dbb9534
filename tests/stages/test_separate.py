"""Reinforcement learning whose answers are sampled elsewhere: with no lag as here, with a lag to the same bits after a kill."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.generate.fake_vllm import servers
from tests.nn.io_models import STOPS
from tests.stages.test_alignment import LENGTH, killed_once, log, place, run, weights
from trivium.core.errors import ConfigError, EngineError
from trivium.generate.own_sampler import OwnSampler

__all__ = ["place"]  # a fixture

GRPO = {"method": "grpo", "rewards": [{"kind": "repetition"}], "answers": 2, "optimizer": {"kind": "adamw", "lr": 1e-2}}
METHODS = {"grpo": GRPO, "remax": {"method": "remax", "rewards": [LENGTH]}, "ppo": {"method": "ppo", "reward_model": "judge"}}
LORA = {"lora": {"r": 2, "targets": ["q_proj"]}}


@pytest.fixture(autouse=True)
def as_the_pipeline_does():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")  # what stages/machine.py chooses on a CPU, in the other process too
    yield
    torch.set_float32_matmul_precision(before)


def native(lag: int, **more) -> dict:
    return {"engine": {"kind": "native", "max_lag": lag, **more}}


@pytest.mark.parametrize("options", METHODS.values(), ids=METHODS.keys())
def test_without_a_lag_another_process_samples_what_this_one_would(options):
    here = run("reinforce", "here", phases=3, **options)
    there = run("reinforce", "there", phases=3, **options, **native(0))
    assert weights("there", "reinforce") == weights("here", "reinforce") != (Path("base") / "model.safetensors").read_bytes()
    assert [{**row, "policy_lag": 0.0} for row in here if "reward" in row] == [row for row in there if "reward" in row]
    assert not list(Path("there/reinforce").glob(".weights"))


@pytest.mark.parametrize("lag", [1, 3])
def test_with_a_lag_a_run_goes_on_with_the_same_bits(lag, monkeypatch):
    killed_once("reinforce", 3, monkeypatch, phases=6, **{**GRPO, "passes": 1, "minibatches": 1}, **native(lag))
