"""Adapters and `peft`: ours load there, theirs load here, the logits are equal; what cannot be loaded is refused in one line."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.nn.adapters import SMALL, adapted
from tests.nn.io_models import CONFIGS, EXPORTED, FILES, SHAPES, V, logits, ours, save_theirs, theirs
from tests.nn.tiny import tiny_model
from trivium.core.errors import ArtefactError, DivergedError
from trivium.nn.adapter import adapt, merge
from trivium.nn.io.adapter_config import base_of, is_adapter
from trivium.nn.io.directory import load_model, save_model
from trivium.nn.io.peft import load_adapter, save_adapter
from trivium.nn.lora import LoRA
from trivium.nn.model import Model

peft = pytest.importorskip("peft", reason="peft is not installed, so there is nothing to compare adapters with")

TOKENS_BL = torch.randint(0, V, (2, 12), generator=torch.Generator().manual_seed(1))
ATTENTION = LoRA(r=3, alpha=5, targets=("query", "key", "value"))
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(autouse=True)
def quiet():
    transformers.utils.logging.disable_progress_bar()


@pytest.fixture
def saved(tmp_path) -> Path:
    """A run folder with a Llama and its adapter."""
    return written(tmp_path, "llama")


def written(folder: Path, family: str, lora: LoRA = SMALL, *, has_scalar: bool = False) -> Path:
    save_model(folder / "base", ours(family), **FILES)
    save_adapter(folder / "adapter", adapted(family, lora, has_scalar=has_scalar), lora, base=folder / "base")
    return folder


def edited(folder: Path, **fields: object) -> Path:
    """The adapter of a run folder as a foreign one, other fields in its adapter_config.json."""
    (folder / "adapter/manifest.json").unlink()
    file = folder / "adapter/adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    return folder / "adapter"


def retensored(folder: Path, change) -> Path:
    """The same with other tensors."""
    path = edited(folder)
    tensors = load_file(path / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, path / "adapter_model.safetensors")
    return path


def of_peft(name: str, folder: Path, *, judges: bool = False, **options: object) -> torch.nn.Module:
    """A model of transformers with an adapter of peft in which everything is random, both saved."""
    base = theirs(name, judges=judges)
    save_theirs(base, folder / "base")
    kind = {"task_type": "SEQ_CLS" if judges else "CAUSAL_LM", "target_modules": "all-linear", "fan_in_fan_out": "gpt2" in name}
    model = peft.get_peft_model(base, peft.LoraConfig(r=4, lora_alpha=6, **{**kind, **options})).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in (parameter for parameter in model.parameters() if parameter.requires_grad):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    model.save_pretrained(folder / "adapter")
    return model


@pytest.mark.parametrize("lora", [SMALL, ATTENTION], ids=["all layers", "attention"])
@pytest.mark.parametrize("family", EXPORTED)
def test_our_adapter_gives_the_same_logits_in_peft(family, lora, tmp_path):
    written(tmp_path, family, lora)
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    model = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    with torch.no_grad():
        torch.testing.assert_close(logits(adapted(family, lora), TOKENS_BL), model(TOKENS_BL).logits, **CLOSE)


@pytest.mark.parametrize("name", CONFIGS)
def test_an_adapter_of_peft_gives_the_same_logits_here(name, tmp_path):
    model = of_peft(name, tmp_path)
    loaded = load_model(tmp_path / "base")
    load_adapter(tmp_path / "adapter", loaded)
    with torch.no_grad():
        expected = model(TOKENS_BL).logits
        torch.testing.assert_close(logits(loaded, TOKENS_BL), expected, **CLOSE)
        merge(loaded)
        torch.testing.assert_close(logits(loaded, TOKENS_BL), expected, **CLOSE)


@pytest.mark.parametrize(
    "options",
    [{"use_rslora": True}, {"target_modules": ["down_proj", "self_attn.q_proj"]}, {"target_modules": r".*\.1\.mlp\..*_proj"}],
    ids=str,
)
def test_scales_and_targets_of_peft_mean_the_same_here(options, tmp_path):
    model = of_peft("llama gqa", tmp_path, **options)
    loaded = load_model(tmp_path / "base")
    load_adapter(tmp_path / "adapter", loaded)
    with torch.no_grad():
        torch.testing.assert_close(logits(loaded, TOKENS_BL), model(TOKENS_BL).logits, **CLOSE)


@pytest.mark.parametrize("name", ["llama gqa", "neox"])
def test_a_reward_model_of_peft_gives_the_same_scores_here(name, tmp_path):
    model = of_peft(name, tmp_path, judges=True, modules_to_save=["score"])
    loaded = load_model(tmp_path / "base")
    load_adapter(tmp_path / "adapter", loaded)
    with torch.no_grad():
        torch.testing.assert_close(scores(loaded), model(TOKENS_BL).logits, **CLOSE)


@pytest.mark.parametrize("family", EXPORTED)
def test_our_reward_model_gives_the_same_scores_in_peft_but_for_gain_and_bias(family, tmp_path):
    written(tmp_path, family, has_scalar=True)
    base = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=1)
    judge = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    model = adapted(family, has_scalar=True)
    with torch.no_grad():
        expected = judge(TOKENS_BL).logits * model.scalar_head.gain + model.scalar_head.bias
        torch.testing.assert_close(scores(model), expected, **CLOSE)


def scores(model: Model) -> torch.Tensor:
    """The scalar head at the last token of each row, (B, 1)."""
    position_BL = torch.arange(TOKENS_BL.shape[1]).expand_as(TOKENS_BL)
    return model.scalar(model.trunk(TOKENS_BL, position_BL))[:, -1:]


@pytest.mark.parametrize("has_scalar", [False, True])
@pytest.mark.parametrize("family", SHAPES)
def test_what_we_write_we_read_bit_for_bit(family, has_scalar, tmp_path):
    written(tmp_path, family, has_scalar=has_scalar)
    assert is_adapter(tmp_path / "adapter")
    assert base_of(tmp_path / "adapter").samefile(tmp_path / "base")
    loaded = load_model(base_of(tmp_path / "adapter"), has_scalar=has_scalar)
    load_adapter(tmp_path / "adapter", loaded)
    torch.testing.assert_close(loaded.state_dict(), adapted(family, has_scalar=has_scalar).state_dict(), rtol=0, atol=0)


def test_an_adapter_is_small(saved):
    size = {name: (saved / name).stat().st_size for name in ("adapter/adapter_model.safetensors", "base/model.safetensors")}
    assert 4 * SMALL.num_parameters(SHAPES["llama"]) < size["adapter/adapter_model.safetensors"] < size["base/model.safetensors"] / 2


def test_a_run_folder_may_be_moved(saved):
    moved = saved.rename(saved.with_name(f"{saved.name}-moved"))
    assert base_of(moved / "adapter").samefile(moved / "base")


def test_another_base_than_it_was_trained_on_is_refused(saved):
    other = ours("llama")
    with torch.no_grad():
        other.trunk.blocks[0].mlp.up.weight[0, 0] += 1e-3
    with pytest.raises(ArtefactError, match="was trained on another base than the one it names"):
        load_adapter(saved / "adapter", other)


def test_a_flipped_bit_is_found(saved):
    file = saved / "adapter/adapter_model.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtefactError, match="content does not match its manifest"):
        load_adapter(saved / "adapter", ours("llama"))


def test_a_base_that_is_gone_is_named(saved):
    (saved / "base").rename(saved / "elsewhere")
    with pytest.raises(ArtefactError, match=r"base_model_name_or_path is '../base', which is no model directory"):
        base_of(saved / "adapter")


Q = "base_model.model.model.layers.1.self_attn.q_proj"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target_modules": ["c_attn"]}, "target_modules has 'c_attn'; the base's linear layers are: mlp.down_proj"),
        ({"target_modules": ["lm_head"]}, "target_modules has 'lm_head'"),
        ({"target_modules": []}, r"target_modules is \[\]; it must be a list"),
        ({"target_modules": ["q_proj"]}, "has no place in the adapter"),
        ({"use_dora": True}, "use_dora is True; only plain LoRA"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern is .* only plain LoRA"),
        ({"unheard_of": 1}, "unheard_of is 1; only plain LoRA"),
        ({"bias": "all"}, "bias is 'all'; only 'none'"),
        ({"peft_type": "IA3"}, "peft_type is 'IA3'; only 'LORA'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa', which changed the base"),
        ({"modules_to_save": ["embed_tokens"]}, "only 'score' is supported"),
        ({"r": 0}, "r is 0; it must be a whole number from 1"),
        ({"r": 8}, r"has shape \[4, \d+\]; its base and adapter_config.json ask for \[8, \d+\]"),
        ({"lora_alpha": "x"}, "lora_alpha is x; it must be a number above 0"),
    ],
    ids=str,
)
def test_a_configuration_that_we_do_not_compute_is_refused(saved, fields, message):
    with pytest.raises(ArtefactError, match=message) as error:
        load_adapter(edited(saved, **fields), ours("llama"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop(f"{Q}.lora_B.weight"), f"tensor {Q}.lora_B.weight is missing"),
        (lambda tensors: tensors.update({"more": torch.ones(1)}), "tensor more has no place"),
        (lambda tensors: tensors[f"{Q}.lora_A.weight"].fill_(torch.nan), f"{Q}.lora_A.weight has values that are not finite"),
        (lambda tensors: tensors.update({f"{Q}.lora_B.weight": torch.ones(7, 4)}), r"lora_B.weight has shape \[7, 4\]"),
    ],
    ids=["missing", "extra", "not finite", "misshapen"],
)
def test_tensors_that_do_not_fit_are_named(saved, change, message):
    with pytest.raises(ArtefactError, match=message):
        load_adapter(retensored(saved, change), ours("llama"))


def test_an_adapter_for_a_wider_model_is_refused(saved):
    with pytest.raises(ArtefactError, match=r"q_proj.lora_A.weight has shape \[4, 32\]; its base and adapter_config.json ask for \[4, 8\]"):
        load_adapter(edited(saved), tiny_model(has_qk_norm=False))


def test_a_pickle_is_not_read(saved):
    path = edited(saved)
    (path / "adapter_model.safetensors").rename(path / "adapter_model.bin")
    with pytest.raises(ArtefactError, match=r"has adapter_model.bin but no adapter_model.safetensors; pickles can run code"):
        load_adapter(path, ours("llama"))


def test_a_file_that_is_cut_off_is_refused(saved):
    path = edited(saved)
    file = path / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ArtefactError, match="is cut off or not a safetensors file"):
        load_adapter(path, ours("llama"))


def test_a_reward_models_adapter_does_not_speak(tmp_path):
    with pytest.raises(ArtefactError, match="is the adapter of a reward model; it cannot speak"):
        load_adapter(written(tmp_path, "llama", has_scalar=True) / "adapter", ours("llama"))


def test_an_adapter_that_is_not_finite_is_not_written(tmp_path):
    model = ours("llama")
    adapt(model, SMALL, seed=1)
    with torch.no_grad():
        model.trunk.blocks[0].mlp.up.lora_B[0, 0] = torch.inf
    with pytest.raises(DivergedError, match="mlp.up_proj.lora_B.weight has values that are not finite"):
        save_adapter(tmp_path / "adapter", model, SMALL, base=tmp_path)
