"""Guests: the interface of our models over any model of transformers."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.nn.io_models import FILES, V, ours, save_theirs
from trivium.core.errors import ArtefactError, ConfigError, DivergedError
from trivium.core.types import example
from trivium.data.pack import pack
from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling
from trivium.learn.objectives import CrossEntropy
from trivium.learn.schedules import Schedule
from trivium.nn.io.directory import load_model, save_model
from trivium.nn.outputs import Outputs
from trivium.train.trainer import Trainer

DOCUMENTS = [[5, 6, 7, 8, 9], [11], [12, 13, 14], [15, 16, 17, 18]]


@pytest.fixture
def bloom(tmp_path) -> Path:
    """An architecture that is none of ours: linear biases instead of positions."""
    torch.manual_seed(0)
    config = transformers.BloomConfig(vocab_size=V, hidden_size=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=2, pad_token_id=1)
    model = transformers.BloomForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return save_theirs(model, tmp_path / "bloom")


def batch():
    """Three rows' worth of sequences in two rows, with padding."""
    [packed] = pack([(example(document),) for document in DOCUMENTS], rows=2, length=9)
    return packed


def test_a_guest_says_what_the_same_model_of_ours_says(tmp_path):
    save_model(tmp_path / "model", ours("gemma2"), **FILES)
    native, guest = (load_model(tmp_path / "model", is_guest=is_guest) for is_guest in (False, True))
    outputs = [Outputs(model, batch(), temperature=0.7, with_entropy=True) for model in (native, guest)]
    torch.testing.assert_close(outputs[1].logprobs_BL, outputs[0].logprobs_BL, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(outputs[1].greedy_BL, outputs[0].greedy_BL)
    torch.testing.assert_close(outputs[1].entropy_BL, outputs[0].entropy_BL, atol=1e-5, rtol=1e-5)
    for out in outputs:
        out.logprobs_BL.sum().backward()
    expected = native.trunk.blocks[0].mlp.up.weight.grad
    torch.testing.assert_close(guest.trunk.body.model.layers[0].mlp.up_proj.weight.grad, expected, atol=1e-4, rtol=1e-4)


def test_a_guest_generates_what_the_same_model_of_ours_generates(tmp_path):
    save_model(tmp_path / "model", ours("mistral"), **FILES)
    prompts = [np.arange(3, 3 + length, dtype=np.int32) for length in (1, 5, 12)]
    answers = []
    for is_guest in (False, True):
        engine = Engine(load_model(tmp_path / "model", is_guest=is_guest), stop_ids=[2])
        answers.append(engine.generate(prompts, Sampling(temperature=1.0, max_new_tokens=10), seed=0))
    assert [answer.tokens.tolist() for answer in answers[0]] == [answer.tokens.tolist() for answer in answers[1]]


def test_an_architecture_that_is_not_ours_generates_what_transformers_generates(bloom):
    prompt = np.array([3, 9, 27], np.int32)
    [answer] = Engine(load_model(bloom, is_guest=True), stop_ids=[2]).generate([prompt], Sampling(temperature=0, max_new_tokens=12), seed=0)
    model = transformers.AutoModelForCausalLM.from_pretrained(bloom)
    ids = torch.from_numpy(prompt.astype(np.int64))[None]
    expected = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12)
    assert answer.tokens.tolist() == expected[0].tolist()


def test_packing_does_not_change_what_a_guest_says(bloom):
    model = load_model(bloom, is_guest=True)
    with torch.no_grad():
        packed = Outputs(model, batch()).logprobs_BL.sum()
        alone = sum(Outputs(model, pack([(example(document),)], rows=1, length=9)[0]).logprobs_BL.sum() for document in DOCUMENTS)
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-5)


def test_a_guest_trains_is_written_and_comes_back(bloom, tmp_path):
    model = load_model(bloom, is_guest=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    trainer = Trainer("policy", model, CrossEntropy(), [optimizer], schedule=Schedule(), steps=8)
    losses = [trainer.step(n, [batch()])["loss"] for n in range(8)]
    assert losses[-1] < 0.5 * losses[0]
    save_model(tmp_path / "trained", model, **FILES)
    back = load_model(tmp_path / "trained", is_guest=True)
    with torch.no_grad():
        torch.testing.assert_close(Outputs(back, batch()).logprobs_BL, Outputs(model, batch()).logprobs_BL, atol=1e-6, rtol=1e-6)
    with pytest.raises(ArtefactError, match="model_type is bloom; .*trivium import .*trained FOLDER --guest"):
        load_model(tmp_path / "trained")
    save_model(tmp_path / "half", model, dtype="bfloat16", **FILES)
    half = load_model(tmp_path / "half", is_guest=True)
    assert json.loads((tmp_path / "half/config.json").read_text())["dtype"] == "bfloat16"
    assert all(torch.equal(a.bfloat16().float(), b) for a, b in zip(model.parameters(), half.parameters(), strict=True))


def test_a_guest_computes_in_bf16_and_keeps_fp32_weights(bloom):
    model = load_model(bloom, is_guest=True, compute_dtype=torch.bfloat16)
    exact = load_model(bloom, is_guest=True)
    with torch.no_grad():
        rounded, expected = (Outputs(each, batch()).logprobs_BL for each in (model, exact))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not torch.equal(rounded, expected)
    torch.testing.assert_close(rounded, expected, atol=0.1, rtol=0.05)


def test_a_guest_can_judge_but_a_judge_cannot_be_written(bloom, tmp_path):
    model = load_model(bloom, is_guest=True, has_scalar=True)
    assert Outputs(model, batch()).scores_BL.shape == (2, 9)
    with pytest.raises(ConfigError, match="a guest with a scalar head cannot be written"):
        save_model(tmp_path / "judge", model, **FILES)


def test_a_guest_that_diverged_is_not_written(bloom, tmp_path):
    model = load_model(bloom, is_guest=True)
    next(iter(model.parameters())).data[0, 0] = float("nan")
    with pytest.raises(DivergedError, match="word_embeddings.weight has values that are not finite"):
        save_model(tmp_path / "model", model, **FILES)


def refused(folder: Path, *, match: str, error: type[Exception] = ArtefactError) -> None:
    with pytest.raises(error, match=match) as caught:
        load_model(folder, is_guest=True)
    assert "\n" not in str(caught.value)


def test_without_transformers_a_guest_is_refused(bloom, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    refused(bloom, match=r"package transformers, which is not installed: pip install 'trivium\[hf\]'", error=ConfigError)


def test_a_tensor_that_a_guest_lacks_is_named(bloom):
    tensors = load_file(bloom / "model.safetensors")
    name = next(name for name in tensors if name.endswith("h.1.mlp.dense_4h_to_h.weight"))
    save_file({other: tensor for other, tensor in tensors.items() if other != name}, bloom / "model.safetensors", {"format": "pt"})
    refused(bloom, match="tensor transformer.h.1.mlp.dense_4h_to_h.weight is missing")
    save_file(tensors | {name: tensors[name][:-1]}, bloom / "model.safetensors", {"format": "pt"})
    refused(bloom, match=r"tensor transformer.h.1.mlp.dense_4h_to_h.weight has shape \[\d+, \d+\], config.json asks for \[\d+, \d+\]")


def test_a_guest_brings_no_code_and_no_pickle(bloom):
    config = json.loads((bloom / "config.json").read_text())
    (bloom / "config.json").write_text(json.dumps(config | {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}))
    (bloom / "mine.py").write_text("raise SystemExit('code of a guest ran')")
    refused(bloom, match="transformers cannot load it as a guest: .*")
    (bloom / "model.safetensors").rename(bloom / "pytorch_model.bin")
    refused(bloom, match="pickles can run code")
