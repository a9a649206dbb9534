"""Model directories of ours: what is saved comes back, and what cannot be saved says why."""

import json
from pathlib import Path

import pytest
import torch

from tests.nn.io_models import FILES, LARGER, SHAPES, TOKENIZER, V, logits, ours
from trivium.core.commit import commit, read_manifest
from trivium.core.config import plain
from trivium.core.errors import ArtefactError, ConfigError, DivergedError
from trivium.nn.config import Family, ModelConfig, llama
from trivium.nn.io.config_json import to_json
from trivium.nn.io.directory import load_model, read_config, save_model
from trivium.nn.io.families import FAMILIES
from trivium.nn.io.tokenizer_files import tokenizer_config
from trivium.text.tokenizer import Tokenizer

WEIGHTS = "model.safetensors"
TOKENS_BL = torch.arange(20)[None] * 3


@pytest.fixture
def folder(tmp_path) -> Path:
    """A directory of ours."""
    save_model(tmp_path / "model", ours("qwen3"), **FILES)
    return tmp_path / "model"


def refused(folder: Path, *, match: str) -> None:
    """Loading says why in one line that names the folder."""
    with pytest.raises(ArtefactError, match=match) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_family_of_the_configuration_has_a_table():
    assert {*FAMILIES, "guest", "proxy"} == set(Family.__args__)


@pytest.mark.parametrize("has_scalar", [False, True])
@pytest.mark.parametrize("family", SHAPES)
def test_what_is_saved_is_loaded_bit_for_bit(family, has_scalar, tmp_path):
    model = ours(family, has_scalar=has_scalar)
    manifest = save_model(tmp_path / "model", model, **FILES)
    loaded = load_model(tmp_path / "model")
    assert loaded.config == model.config == read_config(tmp_path / "model")
    unused = {"trunk.head.weight"} if has_scalar and not model.config.tie_head else set()
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, loaded.state_dict()[key]) for key, tensor in model.state_dict().items() if key not in unused)
    assert manifest["meta"]["parameters"] == model.num_parameters
    assert manifest["meta"]["tokenizer"] == Tokenizer.load(tmp_path / "model").fingerprint


def test_a_loaded_model_trains_and_its_tied_head_stays_tied(tmp_path):
    save_model(tmp_path / "model", ours("llama"), **FILES)
    loaded = load_model(tmp_path / "model")
    logits(loaded, TOKENS_BL).logsumexp(-1).mean().backward()
    assert loaded.trunk.head.weight is loaded.trunk.embed.weight
    assert all(parameter.requires_grad and parameter.grad is not None for parameter in loaded.parameters())


def test_a_model_computes_in_the_precision_it_is_loaded_for_and_keeps_fp32_weights(folder):
    loaded = load_model(folder, compute_dtype=torch.bfloat16)
    assert loaded.trunk(TOKENS_BL, torch.arange(20)[None]).dtype == torch.bfloat16
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_weights_saved_in_bf16_are_the_rounded_ones(tmp_path):
    model = ours("gpt_neox")
    save_model(tmp_path / "model", model, dtype="bfloat16", **FILES)
    loaded = load_model(tmp_path / "model")
    assert all(torch.equal(tensor.bfloat16().float(), loaded.state_dict()[key]) for key, tensor in model.state_dict().items())


def test_a_language_model_gets_a_new_scalar_head_of_zeros(folder):
    model = load_model(folder, has_scalar=True)
    assert not model.scalar(model.trunk(TOKENS_BL, torch.arange(20)[None])).any()
    assert torch.equal(model.trunk.head.weight, ours("qwen3").trunk.head.weight)


def test_equal_models_are_equal_files(tmp_path):
    manifests = [save_model(tmp_path / name, ours("llama"), **FILES) for name in ("a", "b")]
    assert manifests[0]["files"] == manifests[1]["files"]


def test_a_changed_bit_is_found_by_the_manifest_and_only_then(folder):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-3] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    refused(folder, match="model.safetensors: content does not match its manifest")
    (folder / "manifest.json").unlink()
    load_model(folder)


def test_a_directory_left_half_way_by_a_kill_is_put_back(folder):
    folder.rename(folder.with_name(".model.old"))
    assert load_model(folder).config == SHAPES["qwen3"]


def test_another_kind_of_folder_is_named(folder):
    commit(folder, lambda place: (place / "x").write_text("x"), kind="checkpoint")
    refused(folder, match="holds a checkpoint, not a model")


def test_a_failed_save_leaves_the_old_model(folder):
    model = ours("qwen3")
    model.trunk.blocks[1].mlp.up.weight.data[3, 3] = float("nan")
    before = read_manifest(folder)
    with pytest.raises(DivergedError, match=r"model.layers.1.mlp.up_proj.weight has values that are not finite"):
        save_model(folder, model, **FILES)
    assert read_manifest(folder) == before


def test_a_score_that_is_not_finite_is_not_written(tmp_path):
    model = ours("llama", has_scalar=True)
    model.scalar_head.bias.fill_(float("inf"))
    with pytest.raises(DivergedError, match=r"scalar_head.bias is inf"):
        save_model(tmp_path / "model", model, **FILES)


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match=f"but the model's vocab_size is {V}"):
        save_model(tmp_path / "model", ours("llama"), tokenizer_json=LARGER.to_json(), tokenizer_config={})
    with pytest.raises(ArtefactError, match=r"eos_token is '<\|ende\|>'.*did you mean '<\|end\|>'"):
        save_model(tmp_path / "model", ours("llama"), tokenizer_json=TOKENIZER.to_json(), tokenizer_config={"eos_token": "<|ende|>"})


def test_a_base_model_ends_at_the_document_separator(tmp_path):
    save_model(tmp_path / "model", ours("llama"), tokenizer_json=TOKENIZER.to_json(), tokenizer_config=tokenizer_config(TOKENIZER))
    assert json.loads((tmp_path / "model" / "generation_config.json").read_text()) == {
        "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1,
    }  # fmt: skip


# --- shapes that a family has no words for


def config(**options: object) -> ModelConfig:
    return ModelConfig(**(plain(SHAPES["llama"]) | options))


@pytest.mark.parametrize(
    ("shape", "option"),
    [
        (config(has_qk_norm=True), "has_qk_norm"),
        (config(has_output_bias=True), "has_.*_bias"),
        (config(norm="layer"), "norm"),
        (config(is_gated=False), "is_gated"),
        (config(rotary_share=0.5), "rotary_share"),
        (config(family="qwen3", has_qk_norm=True, has_mlp_bias=True), "has_mlp_bias"),
        (ModelConfig(**(plain(SHAPES["gpt_neox"]) | {"num_kv_heads": 2})), "num_kv_heads"),
        (ModelConfig(**(plain(SHAPES["gpt_neox"]) | {"head_dim": 16})), "head_dim"),
        (config(num_heads=3, num_kv_heads=3), "must be a multiple of num_heads"),
        (config(sliding_window=5), "sliding_window"),
        (config(layer_kinds=("full", "unrotated")), "layer_kinds"),
        (config(logit_softcap=5.0), "logit_softcap"),
        (config(norm_place="both"), "norm_place"),
        (config(has_value_embeddings=True), "has_value_embeddings"),
        (config(has_residual_scalars=True), "has_residual_scalars"),
        (config(family="trivium", norm_place="both"), "norm_place = both cannot be written as trivium"),
        (ModelConfig(**(plain(SHAPES["mistral"]) | {"layer_kinds": ("full", "sliding")})), "layer_kinds"),
        (
            ModelConfig(**(plain(SHAPES["smollm3"]) | {"sliding_window": 5, "layer_kinds": ()})),
            "a layer of kind 'sliding' cannot be written as smollm3",
        ),
        (ModelConfig(**(plain(SHAPES["gemma2"]) | {"query_pre_attn_scalar": None})), "query_pre_attn_scalar"),
        (ModelConfig(**(plain(SHAPES["gemma3_text"]) | {"rope_local_theta": None})), "rope_local_theta"),
    ],
)
def test_a_shape_that_the_family_cannot_express_is_not_written(shape, option):
    with pytest.raises(ConfigError, match=option):
        to_json(shape)


def test_the_default_shapes_are_written():
    for has_qk_norm in (True, False):
        to_json(llama(vocab_size=8192, depth=6, width=256, max_seq_len=512, has_qk_norm=has_qk_norm))
