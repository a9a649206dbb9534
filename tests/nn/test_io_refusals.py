"""One line for everything that can be wrong with a model directory that comes from anywhere."""

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.nn.io_models import FILES, LARGER, ours
from trivium.core.errors import ArtefactError
from trivium.nn.io.directory import load_model, save_model

WEIGHTS, CONFIG, INDEX = "model.safetensors", "config.json", "model.safetensors.index.json"


@pytest.fixture
def foreign(tmp_path) -> Path:
    """A directory without our manifest."""
    return written(tmp_path / "model", "qwen3")


def written(folder: Path, family: str, *, has_scalar: bool = False) -> Path:
    """A directory of ours that lost its manifest."""
    save_model(folder, ours(family, has_scalar=has_scalar), **FILES)
    (folder / "manifest.json").unlink()
    return folder


def edit(folder: Path, name: str = CONFIG, **fields: object) -> None:
    """Set fields of a JSON file; None takes one out."""
    content = json.loads((folder / name).read_text()) | fields
    (folder / name).write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def edit_weights(folder: Path, **tensors: torch.Tensor | None) -> None:
    """Set tensors of the file; None takes one out."""
    content = load_file(folder / WEIGHTS) | tensors
    save_file({key: tensor for key, tensor in content.items() if tensor is not None}, folder / WEIGHTS)


def refused(folder: Path, *, match: str) -> None:
    """Loading says why in one line that names the folder, where weights are read later too."""
    for later_on in (None, "cpu"):
        with pytest.raises(ArtefactError, match=match) as caught:
            load_model(folder, later_on=later_on).gather()
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"model_type": "bloom"},
            "model_type is bloom; it is one of: gemma2, .*; transformers runs any other: trivium import .*model FOLDER --guest",
        ),
        ({"model_type": "qwen"}, "model_type is qwen; did you mean 'qwen[23]'"),
        ({"model_type": ["llama"]}, "model_type is "),
        (
            {"architectures": ["Qwen3ForTokenClassification"]},
            "architectures is .* one of: Qwen3ForCausalLM, Qwen3ForSequenceClassification",
        ),
        ({"vocab_size": None}, "vocab_size is missing; it must be a whole number"),
        ({"vocab_size": "300"}, "vocab_size is 300; it must be a whole number"),
        ({"hidden_size": True}, "hidden_size is True; it must be a whole number"),
        ({"hidden_size": -32}, "hidden_size is -32"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000; it must be a whole number from 1 to 4,096"),
        ({"max_position_embeddings": 10**12}, "max_position_embeddings"),
        ({"num_hidden_layers": 4000}, "config.json: describes at least [0-9,]+ weights, but the files hold [0-9,]+"),
        ({"num_key_value_heads": 3}, "must be a multiple of num_kv_heads"),
        ({"head_dim": 15}, "must be even"),
        ({"rms_norm_eps": 0}, "rms_norm_eps is 0; it must be a number above 0"),
        ({"rms_norm_eps": 10**400}, "rms_norm_eps"),
        ({"hidden_act": "relu"}, "hidden_act is relu; did you mean 'relu2'"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings is yes; it must be true or false"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"use_sliding_window": True}, "use_sliding_window is True; only False is supported"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        (
            {"rope_parameters": {"rope_type": "longrope", "factor": 8.0}},
            "rope type 'longrope'; it is one of: default, linear, llama3, yarn",
        ),
        ({"rope_parameters": None, "rope_scaling": {"type": "dynamic", "factor": 2}}, "asks for rope type 'dynamic'"),
        ({"rope_parameters": None, "rope_scaling": {"type": ["linear"]}}, r"asks for rope type \"\['linear'\]\""),
        ({"rope_parameters": {"rope_type": "linear"}}, "'factor' is missing"),
        ({"rope_parameters": {"rope_type": "linear", "factor": -1}}, "factor is -1; it must be a number above 0"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8, "high_freq_factor": 1}}, "must be above low_freq_factor"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 8, "mscale": 0.7}}, "mscale = 0.7 is not supported for rope type 'yarn'"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e6}}}, "rope_parameters is .* one object of numbers"),
        ({"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}, "partial_rotary_factor must be 1 for qwen3"),
        ({"rope_parameters": "yes"}, "rope_parameters is yes"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e-300}}, "rope_theta"),
        (
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0, "factor": 4.0, "original_max_position_embeddings": 64}},
            "yarn divides by the logarithm of rope_theta",
        ),
        ({"rms_norm_eps": 1e-300}, "norm_eps"),
        ({"head_dim": 1 << 18, "max_position_embeddings": 1 << 20}, "rotated dimensions of a head is above"),
        ({"tie_word_embeddings": True}, "has a head that differs from the embedding"),
    ],
)
def test_a_config_json_that_cannot_be_used_says_which_field(foreign, fields, problem):
    edit(foreign, **fields)
    refused(foreign, match=problem)


@pytest.mark.parametrize(
    ("family", "fields", "problem"),
    [
        ("gemma2", {"layer_types": ["full_attention"]}, "layer_types is .* it must be a list of 2 of: sliding_attention, full_attention"),
        ("gemma2", {"layer_types": ["full_attention", {}]}, "layer_types is .* it must be a list of 2"),
        ("gemma2", {"final_logit_softcapping": 0}, "final_logit_softcapping is 0; it must be a number above 0"),
        ("gemma2", {"query_pre_attn_scalar": 1.5}, "query_pre_attn_scalar is 1.5; it must be a whole number"),
        ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention is True; only False is supported"),
        ("gemma3_text", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50.0; only None is supported"),
        ("gemma3_text", {"layer_types": None, "sliding_window_pattern": "6"}, "sliding_window_pattern is 6; it must be a whole number"),
        (
            "gemma3_text",
            {"rope_parameters": {"sliding_attention": {"rope_type": "linear", "factor": 2.0}}},
            "sliding_attention asks for rope type 'linear'; only 'default'",
        ),
        ("gemma3_text", {"rope_parameters": {"sliding": {}}}, r"an object for \['full_attention', 'sliding_attention'\]"),
        ("smollm3", {"no_rope_layers": [1, 2]}, "no_rope_layers is .* it must be a list of 2 of: 1, 0"),
        ("mistral", {"sliding_window": -1}, "sliding_window is -1; it must be a whole number"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True; only False is supported"),
        ("gpt2", {"n_inner": "x"}, "n_inner is x; it must be a whole number"),
        ("qwen2", {"use_sliding_window": True}, "use_sliding_window is True; only False is supported"),
    ],
)
def test_a_field_of_one_family_that_cannot_be_used_is_named(tmp_path, family, fields, problem):
    edit(written(tmp_path / "model", family), **fields)
    refused(tmp_path / "model", match=problem)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not JSON"),
        (b"[]", "is a JSON list, not an object"),
        (b'{"a": 1', "is not JSON"),
        (b'{"a": 1, "a": 2}', "'a' is given twice"),
        (b'{"rms_norm_eps": NaN}', "NaN is not a JSON number"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'"\xff"', "is not UTF-8 text"),
    ],
)
def test_a_config_json_that_is_no_object_is_refused(foreign, content, problem):
    (foreign / CONFIG).write_bytes(content)
    refused(foreign, match=f"config.json: {problem}")


NAME = "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize(
    ("tensor", "problem"),
    [
        (None, f"model.safetensors: tensor {NAME} is missing"),
        (torch.zeros(48, 31), rf"model.safetensors: tensor {NAME} has shape \[48, 31\]; config.json asks for \[48, 32\]"),
        (torch.zeros(48 * 32), rf"tensor {NAME} has shape \[1536\]"),
        (torch.zeros(48, 32, dtype=torch.int8), f"tensor {NAME} has type I8; it is one of: BF16, F16, F32"),
        (torch.full((48, 32), float("inf")), f"tensor {NAME} has values that are not finite"),
        (torch.full((48, 32), float("nan"), dtype=torch.bfloat16), f"tensor {NAME} has values that are not finite"),
    ],
)
def test_a_tensor_that_is_wrong_is_named(foreign, tensor, problem):
    edit_weights(foreign, **{NAME: tensor})
    refused(foreign, match=problem)


def test_a_tensor_too_many_is_named(foreign):
    edit_weights(foreign, **{"model.layers.2.mlp.up_proj.weight": torch.zeros(48, 32)})
    refused(foreign, match=r"tensor model.layers.2.mlp.up_proj.weight has no place")


def test_a_buffer_of_old_releases_is_ignored(tmp_path):
    written(tmp_path / "model", "gpt_neox")
    edit_weights(tmp_path / "model", **{"gpt_neox.layers.0.attention.bias": torch.ones(1, 1, 8, 8, dtype=torch.bool)})
    load_model(tmp_path / "model")


def test_a_tied_head_that_is_stored_as_well_is_accepted(tmp_path):
    written(tmp_path / "model", "llama")
    edit_weights(tmp_path / "model", **{"lm_head.weight": ours("llama").trunk.embed.weight.data.clone()})
    load_model(tmp_path / "model")


def damaged_files() -> dict[str, bytes]:
    """Headers that lie."""

    def file(header: object, data: bytes = b"") -> bytes:
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data

    return {
        "empty": b"",
        "a length without header": struct.pack("<Q", 1 << 60),
        "no JSON": struct.pack("<Q", 4) + b"abcd",
        "a tensor outside of the file": file({"x": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}),
        "offsets that go back": file({"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, b"0000"),
        "two tensors in one place": file(
            dict.fromkeys("xy", {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}), b"0000"
        ),
        "a shape that overflows": file({"x": {"dtype": "F32", "shape": [1 << 63, 4], "data_offsets": [0, 4]}}, b"0000"),
    }  # fmt: skip


@pytest.mark.parametrize("name", damaged_files())
def test_a_damaged_safetensors_file_is_refused(foreign, name):
    (foreign / WEIGHTS).write_bytes(damaged_files()[name])
    refused(foreign, match=r"model.safetensors: is cut off or not a safetensors file")


@pytest.mark.parametrize("share", [0.01, 0.3, 0.99])
def test_a_file_cut_off_is_refused(foreign, share):
    content = (foreign / WEIGHTS).read_bytes()
    (foreign / WEIGHTS).write_bytes(content[: int(len(content) * share)])
    refused(foreign, match=r"model.safetensors: is cut off")


def test_a_pickle_is_never_read(foreign):
    (foreign / WEIGHTS).unlink()
    (foreign / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n")
    refused(foreign, match=r"has pytorch_model.bin but no model.safetensors; pickles can run code")


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_missing_file_is_named(foreign, name):
    (foreign / name).unlink()
    refused(foreign, match=f"there is no (such file|{name})")


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "tokenizer.json", "manifest.json"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(foreign, name):
    (foreign / name).unlink(missing_ok=True)
    os.mkfifo(foreign / name)
    refused(foreign, match=r"it is a pipe|there is no model.safetensors")


def test_a_path_that_is_no_folder_is_refused(tmp_path):
    refused(tmp_path / "nothing", match="is no folder")
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file", match="is no folder")


def test_a_foreign_tokenizer_with_more_ids_than_the_model_is_refused(foreign):
    (foreign / "tokenizer.json").write_text(LARGER.to_json())
    refused(foreign, match=r"tokenizer.json: has ids up to \d+, but the model's vocab_size is")


# --- shards


def shard(folder: Path) -> dict[str, str]:
    """Cut the weights in two files with an index; returns its weight_map."""
    tensors = load_file(folder / WEIGHTS)
    names = sorted(tensors)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, chosen in halves.items():
        save_file({name: tensors[name] for name in chosen}, folder / file)
    (folder / WEIGHTS).unlink()
    places = {name: file for file, chosen in halves.items() for name in chosen}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return places


def test_shards_are_one_model(foreign):
    shard(foreign)
    assert all(torch.equal(tensor, load_model(foreign).state_dict()[key]) for key, tensor in ours("qwen3").state_dict().items())


@pytest.mark.parametrize("place", ["../x.safetensors", "/etc/x.safetensors", "x.bin", "", 3, "sub/x.safetensors"])
def test_an_index_cannot_point_out_of_its_folder(foreign, place):
    places = shard(foreign)
    edit(foreign, INDEX, weight_map=places | {NAME: place})
    refused(foreign, match=f"index.json: tensor {NAME} is in .* must be a .safetensors file beside the index")


def test_an_index_that_does_not_fit_its_shards_is_refused(foreign):
    places = shard(foreign)
    edit(foreign, INDEX, weight_map=places | {NAME: "b.safetensors" if places[NAME] == "a.safetensors" else "a.safetensors"})
    refused(foreign, match=f"has tensor {NAME}, which {INDEX} does not list there")
    edit(foreign, INDEX, weight_map=places | {"more": "a.safetensors"})
    refused(foreign, match="tensor more is missing, though")
    edit(foreign, INDEX, weight_map=places | {"more": "c.safetensors"})
    refused(foreign, match=r"c.safetensors: there is no such file")
    edit(foreign, INDEX, weight_map=None)
    refused(foreign, match="weight_map is missing or empty")


def test_a_shard_cut_off_is_named(foreign):
    shard(foreign)
    content = (foreign / "b.safetensors").read_bytes()
    (foreign / "b.safetensors").write_bytes(content[:-100])
    refused(foreign, match=r"b.safetensors: is cut off")


# --- reward models and critics


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"gain": "x", "bias": 0}, "gain is x"),
        ({"gain": 1.0}, "bias is None"),
        ({"gain": 10**400, "bias": 0}, "gain is 1000"),
        ({"gain": 1e999, "bias": 0}, "gain is inf|is not a JSON number"),
    ],
)
def test_a_normalisation_that_is_no_number_is_refused(tmp_path, content, problem):
    written(tmp_path / "model", "llama", has_scalar=True)
    (tmp_path / "model" / "scalar_head.json").write_text(json.dumps(content))
    refused(tmp_path / "model", match=f"scalar_head.json: .*({problem})")


def test_a_classifier_with_two_labels_is_refused(tmp_path):
    written(tmp_path / "model", "llama", has_scalar=True)
    edit_weights(tmp_path / "model", **{"score.weight": torch.zeros(2, 32)})
    refused(tmp_path / "model", match=r"score.weight has shape \[2, 32\]; config.json asks for \[1, 32\]")


def test_an_untied_reward_model_has_a_language_head_of_zeros(tmp_path):
    written(tmp_path / "model", "gpt_neox", has_scalar=True)
    assert not load_model(tmp_path / "model").trunk.head.weight.any()


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "tokenizer.json"])
@pytest.mark.parametrize("seed", range(20))
def test_a_file_with_changed_bytes_is_loaded_or_refused_in_one_line(foreign, name, seed):
    generator = np.random.default_rng(seed)
    content = np.frombuffer((foreign / name).read_bytes(), np.uint8).copy()
    places = generator.integers(0, min(len(content), 3000), size=3)  # where headers are
    content[places] = generator.integers(0, 256, size=3)
    (foreign / name).write_bytes(content.tobytes())
    try:
        load_model(foreign)
    except ArtefactError as error:
        said = str(error)
    else:
        said = str(foreign)  # white space, a changed weight
    assert str(foreign) in said
    assert len(said) < 600


def test_what_the_files_have_not_is_named_however_much_it_is(foreign):
    edit(foreign, intermediate_size=480)
    refused(foreign, match=rf"{WEIGHTS}: tensor model.layers.0.mlp.*_proj.weight has shape \[.*48.*\]; config.json asks for \[.*480.*\]")
    edit(foreign, intermediate_size=48)
    layer = [name for name in load_file(foreign / WEIGHTS) if ".layers.1." in name]
    edit_weights(foreign, **dict.fromkeys(layer))
    refused(foreign, match=rf"{WEIGHTS}: tensor model.layers.1\..* is missing, though config.json asks for it")
