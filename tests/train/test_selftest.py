"""The self-test finds nothing on a sound machine, and finds each fault where it was put."""

import pytest
import torch
from torch.nn import functional

from trivium.core.errors import MachineError
from trivium.learn.optim import muon
from trivium.nn import heads, transformer
from trivium.stages.machine import Machine
from trivium.stages.use import doctor
from trivium.train.selftest import CHECKS, relative_error
from trivium.train.selftest_native import native_checks

CPU = torch.device("cpu")
BY_NAME = {check.name: check for check in CHECKS}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("check", CHECKS, ids=BY_NAME)
def test_a_sound_machine_passes(check, dtype):
    assert 0 < check.error(CPU, dtype) <= check.limits[dtype]


def scaled(function, factor=1.2):
    return lambda *inputs, **options: function(*inputs, **options) * factor


@pytest.mark.parametrize(
    ("name", "owner", "part"),
    [
        ("attention", functional, "scaled_dot_product_attention"),
        ("norms", functional, "rms_norm"),
        ("norms", functional, "layer_norm"),
        ("head", heads, "widened"),
        ("Muon", muon, "orthogonalise"),
        ("AdamW", torch.optim.AdamW, "step"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_fault_is_found_where_it_is(name, owner, part, dtype, monkeypatch):
    sound = getattr(owner, part)
    fault = (lambda *_: None) if part == "step" else scaled(sound)
    monkeypatch.setattr(owner, part, fault)
    assert BY_NAME[name].error(CPU, dtype) > BY_NAME[name].limits[dtype]


def test_a_fault_of_one_precision_in_a_backward_pass_is_found(monkeypatch):
    class Attend(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, slope):
            return slope * 1.1 if slope.dtype == torch.float32 else slope

    sound = transformer.attend
    monkeypatch.setattr(transformer, "attend", lambda *inputs, **options: Attend.apply(sound(*inputs, **options)))
    for name in ("attention", "model"):
        assert BY_NAME[name].error(CPU, torch.float32) > BY_NAME[name].limits[torch.float32]


def test_what_is_not_finite_is_an_infinite_error():
    assert relative_error([torch.tensor([1.0, float("nan")])], [torch.ones(2).double()]) == float("inf")


def test_doctor_says_which_check_failed_and_its_code_is_typed(monkeypatch):
    monkeypatch.setattr(Machine, "measured", lambda self: Machine(device="cpu", threads=1, precision="float32", ceiling=1e9, compile="off"))
    monkeypatch.setattr(doctor, "verdicts", lambda _: iter([("head", 1e-6, 1e-4), ("Muon", 0.5, 1e-3)]))
    lines = []
    with pytest.raises(MachineError, match="too large in: Muon in float32, Muon in bfloat16") as raised:
        lines.extend(doctor.examine())
    assert raised.value.exit_code == 9


def test_doctor_ends_well_on_a_sound_machine(monkeypatch):
    monkeypatch.setattr(Machine, "measured", lambda self: Machine(device="cpu", threads=1, precision="float32", ceiling=1e9, compile="off"))
    lines = list(doctor.examine())
    assert sum(line.endswith(": ok") for line in lines) == 2 * (len(CHECKS) + len(native_checks()))
    assert lines[-1].startswith("chosen     cpu, 1 threads, float32")
