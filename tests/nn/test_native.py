"""The decoder in C++ says what the transformer says, for every family, and says it whatever else is in a step."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.nn.io_models import SHAPES, V
from trivium.nn.adapter import adapt
from trivium.nn.lora import LoRA
from trivium.nn.model import Model
from trivium.nn.native import library
from trivium.nn.native.decoder import Decoder, why_not_native

if library.why_not() is not None:
    pytest.skip(f"no native kernels: {library.why_not()}", allow_module_level=True)

LENGTH = 40
TOKENS = np.random.default_rng(3).integers(0, V, (3, LENGTH))


def random_model(family: str) -> Model:
    """Every weight random, norms and biases too; head_dim as wide as the kernels' vectors."""
    config = SHAPES[family]
    model = Model(replace(config, head_dim=16))
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return model


def whole(model: Model) -> torch.Tensor:
    """Logits of the transformer at every position, (3, LENGTH, V)."""
    with torch.no_grad():
        return model.trunk.logits(model.trunk(torch.from_numpy(TOKENS), torch.arange(LENGTH).expand(3, -1)))


def read_at_once(decoder: Decoder) -> torch.Tensor:
    rows, positions = np.repeat(np.arange(3), LENGTH), np.tile(np.arange(LENGTH), 3)
    return decoder.step(TOKENS.ravel(), rows, positions, np.arange(3 * LENGTH)).view(3, LENGTH, -1).clone()


@pytest.mark.parametrize("family", SHAPES)
def test_logits_are_the_transformers(family):
    model = random_model(family)
    assert why_not_native(model.trunk) is None
    decoder = Decoder(model.trunk, rows=3, capacity=64)
    torch.testing.assert_close(read_at_once(decoder), whole(model), atol=1e-5, rtol=1e-5)


def test_more_threads_than_cores_sleep_at_their_barrier_and_give_the_same_bits():
    model, threads = random_model("llama"), torch.get_num_threads()
    expected = read_at_once(Decoder(model.trunk, rows=3, capacity=64))
    torch.set_num_threads(2 * (os.cpu_count() or 1) + 1)
    try:
        decoder = Decoder(model.trunk, rows=3, capacity=64)
        assert all(torch.equal(read_at_once(decoder), expected) for _ in range(20))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("family", SHAPES)
def test_one_token_a_step_gives_the_same_bits_as_all_at_once(family, precision):
    model = random_model(family)
    at_once = read_at_once(Decoder(model.trunk, rows=3, capacity=64, precision=precision))
    decoder = Decoder(model.trunk, rows=3, capacity=64, precision=precision, most_tokens=3)
    for position in range(LENGTH):
        said = decoder.step(TOKENS[:, position], np.arange(3), np.full(3, position), np.arange(3))
        assert torch.equal(said, at_once[:, position])


@pytest.mark.parametrize("piece", [1, 5, 13])
def test_pieces_of_prompts_mix_with_single_tokens(piece):
    model = random_model("qwen3")
    at_once = read_at_once(Decoder(model.trunk, rows=3, capacity=64))
    decoder, read = Decoder(model.trunk, rows=3, capacity=64, most_tokens=3 * piece), np.zeros(3, int)
    while read.min() < LENGTH:
        ends = np.minimum(read + [piece, 1, (piece + 1) // 2], LENGTH)
        parts = [(row, np.arange(read[row], ends[row])) for row in (2, 0, 1) if ends[row] > read[row]]
        rows, positions = np.concatenate([np.full(len(p), row) for row, p in parts]), np.concatenate([p for _, p in parts])
        said = decoder.step(TOKENS[rows, positions], rows, positions, np.arange(len(rows)))
        assert torch.equal(said, at_once[rows, positions])
        read = ends


@pytest.mark.parametrize(("precision", "limit"), [("bfloat16", 0.01), ("int8", 0.05)])
@pytest.mark.parametrize("family", SHAPES)
def test_fewer_bits_are_close(family, precision, limit):
    model = random_model(family)
    exact = whole(model)
    error = read_at_once(Decoder(model.trunk, rows=3, capacity=64, precision=precision)) - exact
    assert float(error.norm() / exact.norm()) < limit


def test_a_copied_prefix_is_as_good_as_one_that_was_read():
    model = random_model("gemma3_text")
    decoder = Decoder(model.trunk, rows=3, capacity=64)
    at_once = read_at_once(decoder)
    decoder.copy_prefix(1, 0, LENGTH - 1)
    said = decoder.step(TOKENS[1, -1:], np.array([0]), np.array([LENGTH - 1]), np.array([0]))
    assert torch.equal(said[0], at_once[1, -1])


def test_an_adapter_speaks_too():
    model = random_model("gpt2")
    adapt(model, LoRA(r=4), seed=1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("lora_B"):
                parameter.fill_(0.1)
    decoder = Decoder(model.trunk, rows=3, capacity=64)
    torch.testing.assert_close(read_at_once(decoder), whole(model), atol=1e-5, rtol=1e-5)


def test_a_base_in_int8_with_an_adapter_speaks():
    model = random_model("gpt2")
    adapt(model, LoRA(r=4, base="int8"), seed=1)
    decoder = Decoder(model.trunk, rows=3, capacity=64)
    torch.testing.assert_close(read_at_once(decoder), whole(model), atol=1e-5, rtol=1e-5)


def test_int8_hides_no_number_that_is_none():
    model = random_model("llama")
    with torch.no_grad():
        model.trunk.blocks[0].mlp.up.weight[3, 5] = float("nan")
    assert read_at_once(Decoder(model.trunk, rows=3, capacity=64, precision="int8")).isnan().any()


def test_new_weights_count_after_repacking():
    model = random_model("llama")
    decoder = Decoder(model.trunk, rows=3, capacity=64)
    with torch.no_grad():
        model.trunk.blocks[0].mlp.up.weight += 0.1
    decoder.repack()
    torch.testing.assert_close(read_at_once(decoder), whole(model), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("row", "position", "wanted"), [(3, 0, 0), (-1, 0, 0), (0, 64, 0), (0, -1, 0), (0, 0, 1)])
def test_what_lies_outside_of_the_cache_is_refused(row, position, wanted):
    decoder = Decoder(random_model("llama").trunk, rows=3, capacity=200)  # the model has 64 positions
    with pytest.raises(IndexError, match="they are from 0 to"):
        decoder.step(np.array([1]), np.array([row]), np.array([position]), np.array([wanted]))


@pytest.mark.parametrize(("options", "reason"), [({"head_dim": 8}, "head_dim \\(8\\)"), ({"intermediate_size": 40}, "intermediate_size")])
def test_shapes_that_do_not_fit_the_vectors_are_named(options, reason):
    with pytest.raises(AssertionError, match=reason):
        assert why_not_native(Model(replace(SHAPES["llama"], **{"head_dim": 16, **options})).trunk) is None


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo no such flag >&2; exit 1", "failed: no such flag"),
        ("printf '\\377 broken' >&2; exit 1", "broken"),
        ("exit 0", "file too short"),
    ],
)
def test_a_compiler_that_does_not_do_its_work_is_a_reason_and_leaves_nothing(monkeypatch, tmp_path, script, reason):
    broken = tmp_path / "c++"
    broken.write_text(f"#!/bin/sh\n{script}\n")
    broken.chmod(0o755)
    monkeypatch.setattr(library.shutil, "which", lambda name: str(broken))
    monkeypatch.setattr(library, "cache_folder", lambda: tmp_path)
    library.library.cache_clear()
    try:
        assert reason in str(library.why_not())
        assert not list((tmp_path / "native").glob("*.so"))
    finally:
        library.library.cache_clear()
