import pytest
import torch

from trivium.core.errors import ConfigError
from trivium.stages.machine import Machine, peak_flops

MEASURED = Machine(device="cpu", threads=2, precision="float32", ceiling=1e11, compile="on", kernels="native", products="full")


@pytest.mark.parametrize(
    ("name", "tera"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("NVIDIA GeForce RTX 4090", 165),
        ("NVIDIA A10G", 70),
        ("AMD EPYC 9B14", 0),
        ("NVIDIA GeForce GTX 1080", 0),
    ],
)
def test_a_device_is_found_in_the_data_sheets_by_its_own_name(name, tera):
    assert peak_flops(name) == tera * 1e12


def test_an_unknown_peak_is_said():
    assert "no data-sheet peak known for" in str(MEASURED)


def test_a_measured_machine_leaves_nothing_open_and_is_measured_once():
    asked = Machine(threads=torch.get_num_threads(), precision="float32", compile="off")
    measured = asked.measured()
    assert measured.device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert measured.ceiling > 1e8
    assert measured.answers(asked)
    assert measured.measured() == measured


@pytest.mark.parametrize(
    "other", [{"device": "cuda"}, {"threads": 3}, {"precision": "bfloat16"}, {"compile": "off"}, {"kernels": "torch"}, {"products": "int8"}]
)
def test_another_wish_is_not_answered(other):
    assert MEASURED.answers(Machine())
    assert not MEASURED.answers(Machine(**other))


def test_a_device_that_is_not_there_is_refused_with_what_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="machine.device is 'cuda', but torch finds no such device here; it finds: cpu"):
        Machine(device="cuda").measured()


@pytest.mark.parametrize("seconds", [10, 600])
def test_the_work_within_a_time_takes_that_time(seconds):
    assert MEASURED.seconds_for(MEASURED.work_within(seconds)) == pytest.approx(seconds)


OPEN = {"threads": torch.get_num_threads(), "precision": "float32", "ceiling": 1e9}


def test_without_a_compiler_torch_computes_and_a_wish_for_kernels_is_refused(monkeypatch):
    monkeypatch.setattr("trivium.nn.native.library.why_not", lambda: "there is no C++ compiler")
    measured = Machine(**OPEN).measured()
    assert (measured.kernels, measured.products) == ("torch", "full")
    with pytest.raises(ConfigError, match="machine.kernels is 'native', but there is no C\\+\\+ compiler; set machine.kernels=torch"):
        Machine(**OPEN, kernels="native").measured()
    with pytest.raises(ConfigError, match="machine.products is 'int8', which needs native kernels"):
        Machine(**OPEN, products="int8").measured()


@pytest.mark.parametrize(("has_fast_bytes", "products"), [(True, "int8"), (False, "full")])
def test_bytes_are_multiplied_where_that_is_fast(monkeypatch, has_fast_bytes, products):
    monkeypatch.setattr("trivium.nn.native.library.why_not", lambda: None)
    monkeypatch.setattr("trivium.nn.native.library.has_fast_int8", lambda: has_fast_bytes)
    assert Machine(**OPEN).measured().products == products
    assert Machine(**OPEN, products="full").measured().products == "full"
    assert Machine(**OPEN | {"precision": "bfloat16"}).measured().kernels == "native"


def test_products_in_fp8_are_taken_only_when_asked_for_and_refused_with_the_reason(monkeypatch):
    with pytest.raises(
        ConfigError, match="machine.products is 'fp8', but they are for NVIDIA GPUs, not for cpu; set machine.products=full"
    ):
        Machine(**OPEN, products="fp8").measured()
    monkeypatch.setattr("trivium.nn.fp8.why_not_fp8", lambda _: None)
    with pytest.raises(ConfigError, match="they stand beside bfloat16, not float32"):
        Machine(**OPEN, products="fp8").measured()
    in_16_bits = OPEN | {"precision": "bfloat16"}
    assert Machine(**in_16_bits, products="fp8").measured().products == "fp8"
    assert Machine(**in_16_bits, kernels="torch").measured().products == "full"


SLOW_HALF, FAST_HALF = {"float32": 1e11, "bfloat16": 1.2e11}, {"float32": 1e11, "bfloat16": 1.3e11}


@pytest.mark.parametrize(
    ("ceilings", "why_not", "has_fast_bytes", "expected"),
    [
        (SLOW_HALF, None, False, ("float32", "native", "full")),
        (SLOW_HALF, None, True, ("float32", "native", "int8")),
        (FAST_HALF, None, False, ("bfloat16", "native", "full")),
        (FAST_HALF, None, True, ("bfloat16", "native", "int8")),
        (FAST_HALF, "no compiler", False, ("bfloat16", "torch", "full")),
    ],
)
def test_what_is_chosen_follows_from_what_is_measured(monkeypatch, ceilings, why_not, has_fast_bytes, expected):
    monkeypatch.setattr("trivium.stages.machine._matmul_flops", lambda device, dtype: ceilings[str(dtype).removeprefix("torch.")])
    monkeypatch.setattr("trivium.nn.native.library.why_not", lambda: why_not)
    monkeypatch.setattr("trivium.nn.native.library.has_fast_int8", lambda: has_fast_bytes)
    measured = Machine(device="cpu", threads=torch.get_num_threads()).measured()
    assert (measured.precision, measured.kernels, measured.products) == expected
    assert measured.ceiling == ceilings[measured.precision]
    assert measured.measured() == measured
