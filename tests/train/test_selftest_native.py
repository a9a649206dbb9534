"""doctor's checks of the C++ kernels pass on this machine, and see a kernel that is wrong."""

import pytest
import torch

from trivium.nn.native import library, training
from trivium.train.selftest_native import native_checks

if library.why_not() is not None:
    pytest.skip(f"no native kernels: {library.why_not()}", allow_module_level=True)

CHECKS = {check.name: check for check in native_checks()}
WHERE = (torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("name", CHECKS)
def test_errors_are_within_their_limits_and_far_from_nothing(name):
    check = CHECKS[name]
    assert 0 < check.error(*WHERE) < check.limits[torch.float32]


@pytest.mark.parametrize(
    ("function", "wrong"),
    [
        ("rms_norm", lambda right: lambda x, weight, eps: right(x, weight, eps) * 1.001),
        ("attend", lambda right: lambda q, k, v, sight, scale: right(q, k, v, sight._replace(start_BL=sight.start_BL * 0), scale)),
        ("gated", lambda right: lambda both, activation: right(both.flip(-1), activation)),
    ],
)
def test_a_wrong_kernel_is_seen(monkeypatch, function, wrong):
    monkeypatch.setattr(training, function, wrong(getattr(training, function)))
    assert CHECKS["training in C++"].error(*WHERE) > CHECKS["training in C++"].limits[torch.float32]


def test_without_a_compiler_there_is_nothing_to_check(monkeypatch):
    monkeypatch.setattr("trivium.train.selftest_native.why_not", lambda: "there is no C++ compiler")
    assert native_checks() == []
