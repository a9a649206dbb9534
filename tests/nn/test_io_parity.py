"""Parity with transformers on tiny random models: logits, gradients, generation, bytes of weights, chat templates."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.nn.io_models import CONFIGS, EXPORTED, FILES, STOPS, TOKENIZER, V, logits, ours, save_theirs, theirs
from trivium.core.types import Message
from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling
from trivium.nn.config import LinearScaling, Llama3Scaling
from trivium.nn.io.directory import load_model, read_config, save_model
from trivium.nn.io.weights import write_weights
from trivium.text.chat import PLAIN, render

TOKENS_BL = torch.randint(0, V, (3, 40), generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def quiet():
    transformers.utils.logging.disable_progress_bar()


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_those_of_transformers(name, tmp_path):
    model = theirs(name)
    loaded = load_model(save_theirs(model, tmp_path / "hf"))
    with torch.no_grad():
        torch.testing.assert_close(logits(loaded, TOKENS_BL), model(TOKENS_BL).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_are_those_of_transformers(name, tmp_path):
    model = theirs(name)
    loaded = load_model(save_theirs(model, tmp_path / "hf"))
    weight_V = torch.randn(V, generator=torch.Generator().manual_seed(2))
    (model(TOKENS_BL).logits.log_softmax(-1) @ weight_V).mean().backward()
    (logits(loaded, TOKENS_BL).log_softmax(-1) @ weight_V).mean().backward()
    for parameter in model.parameters():  # their gradients, written as if they were weights, get our names
        parameter.data.copy_(parameter.grad)
    expected = dict(load_model(save_theirs(model, tmp_path / "gradient")).named_parameters())
    for key, parameter in loaded.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[key].data, atol=1e-5, rtol=1e-4, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("name", CONFIGS)
def test_greedy_generation_is_that_of_transformers_token_by_token(name, tmp_path):
    model = theirs(name)
    loaded = load_model(save_theirs(model, tmp_path / "hf"))
    prompts = [np.arange(3, 3 + length, dtype=np.int32) * 7 % V for length in (1, 5, 12)]
    answers = Engine(loaded, stop_ids=[2]).generate(prompts, Sampling(temperature=0, max_new_tokens=24), seed=0)
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = torch.from_numpy(prompt.astype(np.int64))[None]
        expected = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24)
        assert answer.tokens.tolist() == expected[0].tolist()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CONFIGS)
def test_weights_come_back_from_us_byte_for_byte(name, dtype, tmp_path):
    model = theirs(name).to(getattr(torch, dtype))
    folder = save_theirs(model, tmp_path / "hf")
    save_model(tmp_path / "ours", load_model(folder), dtype=dtype, **FILES)
    before, after = load_file(folder / "model.safetensors"), load_file(tmp_path / "ours" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(before[key].dtype == after[key].dtype and bool((before[key] == after[key]).all()) for key in before)


@pytest.mark.parametrize("family", EXPORTED)
def test_weights_come_back_from_transformers_byte_for_byte(family, tmp_path):
    model = ours(family)
    save_model(tmp_path / "ours", model, **FILES)
    save_theirs(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours"), tmp_path / "hf")
    back = load_model(tmp_path / "hf")
    assert back.config == model.config
    assert all(torch.equal(tensor, back.state_dict()[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("family", EXPORTED)
def test_transformers_loads_what_we_write_and_nothing_is_missing(family, tmp_path):
    model = ours(family)
    save_model(tmp_path / "model", model, **FILES)
    loaded, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not any(report[problem] for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert (loaded.config.bos_token_id, loaded.config.eos_token_id, loaded.config.pad_token_id) == (0, 2, 1)
    assert loaded.generation_config.eos_token_id == list(STOPS)
    with torch.no_grad():
        torch.testing.assert_close(loaded(TOKENS_BL).logits, logits(model, TOKENS_BL), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", EXPORTED)
def test_a_reward_model_is_a_classifier_of_transformers_before_gain_and_bias(family, tmp_path):
    model = ours(family, has_scalar=True)
    save_model(tmp_path / "reward", model, **FILES)
    loaded, report = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "reward", output_loading_info=True)
    assert not any(report[problem] for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    tokens_BL = TOKENS_BL.clamp(min=3)  # no padding
    with torch.no_grad():
        hidden_BLD = model.trunk(tokens_BL, torch.arange(40).expand_as(tokens_BL))
        scores_B = model.scalar(hidden_BLD)[:, -1]
        theirs_B = loaded(tokens_BL).logits[:, 0]
    torch.testing.assert_close(theirs_B * model.scalar_head.gain + model.scalar_head.bias, scores_B, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["llama tied", "qwen3", "neox", "gpt2", "gemma3"])
def test_a_reward_model_of_transformers_gives_its_scores_here(name, tmp_path):
    model = theirs(name, judges=True)
    loaded = load_model(save_theirs(model, tmp_path / "hf"))
    tokens_BL = TOKENS_BL.clamp(min=3)
    with torch.no_grad():
        scores_BL = loaded.scalar(loaded.trunk(tokens_BL, torch.arange(40).expand_as(tokens_BL)))
        torch.testing.assert_close(scores_BL[:, -1], model(tokens_BL).logits[:, 0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("for_generation", [True, False])
def test_the_written_chat_template_gives_the_ids_that_we_render(for_generation, tmp_path):
    save_model(tmp_path / "model", ours("llama"), **FILES)
    fast = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    turns = [Message("system", "the king"), Message("user", "hello 12"), Message("assistant", "the people")]
    turns = turns[:2] if for_generation else turns
    plain = [{"role": turn.role, "content": turn.content} for turn in turns]
    ids = fast.apply_chat_template(plain, add_generation_prompt=for_generation, tokenize=True, return_dict=False)
    assert ids == render(turns, TOKENIZER, PLAIN, for_generation=for_generation).tokens.tolist()
    assert (fast.eos_token, fast.pad_token, fast.bos_token) == ("<|end|>", "<|pad|>", "<|endoftext|>")
    assert fast("the king of the land").input_ids == TOKENIZER.encode("the king of the land").tolist()


def test_an_old_config_json_is_read_like_a_new_one(tmp_path):
    save_theirs(theirs("neox without attention bias"), tmp_path / "hf")
    new = read_config(tmp_path / "hf")
    file = tmp_path / "hf" / "config.json"
    fields = json.loads(file.read_text())
    rope = fields.pop("rope_parameters")
    old = {"rotary_emb_base": int(rope["rope_theta"]), "rotary_pct": rope["partial_rotary_factor"], "rope_scaling": None}
    file.write_text(json.dumps(fields | old))
    assert (new.rope_theta, new.rotary_share) == (500.0, 0.5)
    assert read_config(tmp_path / "hf") == new


def test_an_old_gemma_3_config_json_is_read_like_a_new_one(tmp_path):
    save_theirs(theirs("gemma3"), tmp_path / "hf")
    new = read_config(tmp_path / "hf")
    file = tmp_path / "hf" / "config.json"
    fields = json.loads(file.read_text())
    del fields["rope_parameters"], fields["layer_types"]
    file.write_text(
        json.dumps(fields | {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "rope_scaling": None, "sliding_window_pattern": 3})
    )
    assert new.layer_kinds == ("sliding", "sliding", "full", "sliding")
    assert (new.rope_theta, new.rope_local_theta) == (1e6, 1e4)
    assert read_config(tmp_path / "hf") == new
    file.write_text(json.dumps(fields | {"rope_scaling": {"rope_type": "linear", "factor": 8.0}, "sliding_window_pattern": 3}))
    assert read_config(tmp_path / "hf") == replace(new, rope_scaling=LinearScaling(factor=8.0))


@pytest.mark.parametrize("kind", ["rope_type", "type"])
def test_an_old_rope_scaling_is_read_like_new_rope_parameters(kind, tmp_path):
    save_theirs(theirs("llama 3"), tmp_path / "hf")
    new = read_config(tmp_path / "hf")
    file = tmp_path / "hf" / "config.json"
    fields = json.loads(file.read_text())
    rope = fields.pop("rope_parameters")
    scaling = {name: value for name, value in rope.items() if name not in ("rope_theta", "rope_type")} | {kind: "llama3"}
    file.write_text(json.dumps(fields | {"rope_theta": rope["rope_theta"], "rope_scaling": scaling}))
    assert new.rope_scaling == Llama3Scaling(factor=8.0, original_max_seq_len=32)
    assert read_config(tmp_path / "hf") == new


def test_layers_without_rotation_that_are_not_listed_are_every_fourth(tmp_path):
    save_theirs(theirs("smollm3"), tmp_path / "hf")
    file = tmp_path / "hf" / "config.json"
    fields = json.loads(file.read_text())
    del fields["no_rope_layers"]
    file.write_text(json.dumps(fields))
    assert read_config(tmp_path / "hf").layer_kinds == ("full", "full", "full", "unrotated")


def test_a_file_of_the_bare_transformer_is_read(tmp_path):
    model = theirs("gpt2")
    folder = save_theirs(model, tmp_path / "hf")
    tensors = load_file(folder / "model.safetensors")
    bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()} | {"h.0.attn.bias": torch.ones(1, 1, 8, 8)}
    save_file(bare, folder / "model.safetensors")
    assert "wte.weight" in bare
    with torch.no_grad():
        torch.testing.assert_close(logits(load_model(folder), TOKENS_BL), model(TOKENS_BL).logits, atol=1e-5, rtol=1e-5)


def test_our_shards_are_read_by_transformers_and_by_us(tmp_path):
    model = ours("llama")
    save_model(tmp_path / "ours", model, **FILES)
    whole = tmp_path / "ours" / "model.safetensors"
    tensors = load_file(whole)
    whole.unlink()
    (tmp_path / "ours" / "manifest.json").unlink()
    write_weights(tmp_path / "ours", tensors, torch.float32, max_shard_bytes=20_000)
    shards = sorted(tmp_path.glob("ours/model-*.safetensors"))
    largest = max(tensor.nbytes for tensor in tensors.values())  # the embedding is larger than a shard and alone in its own
    assert len(shards) > 2
    assert all(file.stat().st_size < max(20_000, largest) + 2_000 for file in shards)
    assert all(torch.equal(tensor, load_model(tmp_path / "ours").state_dict()[key]) for key, tensor in model.state_dict().items())
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    with torch.no_grad():
        torch.testing.assert_close(loaded(TOKENS_BL).logits, logits(model, TOKENS_BL), atol=1e-5, rtol=1e-5)


def test_transformers_shards_are_read(tmp_path):
    model = theirs("llama gqa")
    folder = save_theirs(model, tmp_path / "hf", max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    with torch.no_grad():
        torch.testing.assert_close(logits(load_model(folder), TOKENS_BL), model(TOKENS_BL).logits, atol=1e-5, rtol=1e-5)
