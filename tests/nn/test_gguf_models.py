"""Models through GGUF: what is written is read back, transformers reads it too, and a damaged file is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tests.nn.io_models import FILES, SHAPES, TOKENIZER
from trivium.core.errors import ArtefactError, ConfigError
from trivium.nn.config import ModelConfig
from trivium.nn.io.gguf_file import GgufFile
from trivium.nn.io.gguf_names import deinterleave, interleave
from trivium.nn.io.gguf_read import read_gguf
from trivium.nn.io.gguf_write import write_gguf
from trivium.nn.model import Model
from trivium.text.tokenizer import Tokenizer

CONFIG = FILES["tokenizer_config"]
NUM_DAMAGED = 40


def shape(family: str, **changes: object) -> ModelConfig:
    """A tiny shape whose rows are whole blocks of Q8_0."""
    return ModelConfig(**{**vars(SHAPES[family]), "intermediate_size": 64, **changes})


def model(config: ModelConfig) -> Model:
    """Every weight random, norms and biases too."""
    torch.manual_seed(3)
    made = Model(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return made


def write(folder: Path, made: Model, dtype: str = "f32") -> Path:
    file = folder / "model.gguf"
    write_gguf(file, made, TOKENIZER, CONFIG, dtype=dtype)
    return file


def test_by_hand_interleaved_rows_are_pairs():
    rows = np.arange(8)  # two heads of four: halves are (0 1 | 2 3) and (4 5 | 6 7)
    assert interleave(rows, 2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert deinterleave(interleave(rows, 2), 2).tolist() == rows.tolist()


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_a_model_written_in_fp32_is_read_back_bit_for_bit(family, tmp_path):
    made = model(shape(family))
    read = read_gguf(write(tmp_path, made))
    assert read.model.config == made.config
    for name, tensor in made.state_dict().items():
        assert torch.equal(read.model.state_dict()[name], tensor), name
    tokens_BL = torch.arange(12)[None]
    assert torch.equal(read.model.trunk(tokens_BL, tokens_BL), made.trunk(tokens_BL, tokens_BL))
    assert read.tokenizer_config == dict(CONFIG)
    text = "the king's  12 ships\n\t said é"
    assert read.tokenizer.encode(text).tolist() == TOKENIZER.encode(text).tolist()
    assert read.tokenizer.special == TOKENIZER.special


def test_biases_of_llama_are_kept(tmp_path):
    made = model(shape("llama", has_attention_bias=True, has_output_bias=True, has_mlp_bias=True))
    read = read_gguf(write(tmp_path, made)).model
    assert read.config == made.config
    for name, tensor in made.state_dict().items():
        assert torch.equal(read.state_dict()[name], tensor), name


def test_half_precision_and_eight_bits_stay_within_their_step(tmp_path):
    made = model(shape("llama"))
    for dtype in ("f16", "q8_0"):
        read = read_gguf(write(tmp_path, made, dtype)).model.state_dict()
        for name, tensor in made.state_dict().items():
            if tensor.dim() == 1:
                assert torch.equal(read[name], tensor)
            elif dtype == "f16":
                assert torch.equal(read[name], tensor.half().float())
            else:  # numbers are rounded to 1/127 of the largest in their block of 32, and that scale to fp16
                blocks = tensor.unflatten(-1, (-1, 32))
                allowed = blocks.abs().amax(-1, keepdim=True) * (0.5 / 127 + 2**-11)
                assert ((read[name].unflatten(-1, (-1, 32)) - blocks).abs() <= allowed).all()


@pytest.mark.filterwarnings("ignore")  # of transformers and gguf
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_transformers_computes_the_same_from_our_file(family, tmp_path):
    made = model(shape(family, head_dim=128) if family == "qwen3" else shape(family))  # transformers takes no other width of a head
    write(tmp_path, made)
    dequantised = transformers.GgufConfig(dequantize=True)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="model.gguf", dtype=torch.float32, quantization_config=dequantised
    ).eval()
    tokens_BL = torch.arange(20)[None]
    with torch.inference_mode():
        ours_BLV = torch.nn.functional.linear(made.trunk(tokens_BL, tokens_BL), made.trunk.head.weight)
        torch.testing.assert_close(ours_BLV, theirs(tokens_BL).logits, atol=1e-5, rtol=1e-5)


def test_the_way_text_is_split_is_kept_by_name_or_refused(tmp_path):
    made, split = model(shape("llama")), json.loads(TOKENIZER.to_json())
    text = "it's  2026, déjà\n\n  x = [1,  22]"
    rule = {"type": "Split", "pattern": {"Regex": r"\w+|\W"}, "behavior": "Isolated", "invert": False}
    gpt2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    smollm = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, gpt2]}
    for pre_tokenizer, name in ((split["pre_tokenizer"], "stablelm2"), (smollm, "smollm"), (gpt2, "gpt-2"), (rule, "")):
        tokenizer = Tokenizer.load(saved(tmp_path, json.dumps({**split, "pre_tokenizer": pre_tokenizer})))
        file = tmp_path / "model.gguf"
        if not name:
            with pytest.raises(ArtefactError, match="splits text in a way"):
                write_gguf(file, made, tokenizer, CONFIG, dtype="f32")
            continue
        write_gguf(file, made, tokenizer, CONFIG, dtype="f32")
        assert GgufFile(file).metadata["tokenizer.ggml.pre"] == name
        assert read_gguf(file).tokenizer.encode(text).tolist() == tokenizer.encode(text).tolist()


def saved(folder: Path, tokenizer_json: str) -> Path:
    (folder / "tokenizer.json").write_text(tokenizer_json, encoding="utf-8")
    return folder


def test_what_gguf_cannot_express_is_refused(tmp_path):
    refused = {
        "gpt_neox model cannot be written": (model(SHAPES["gpt_neox"]), "f16"),
        "has_attention_bias = True cannot be written": (model(shape("qwen3", has_attention_bias=True)), "f16"),
        "activation = gelu cannot be written": (model(shape("llama", activation="gelu")), "f16"),
        "needs multiples of 32; use f16": (model(SHAPES["llama"]), "q8_0"),
        "dtype is 'q4_1'; it is one of: f16, f32, q8_0": (model(shape("llama")), "q4_1"),
        "scalar head": (Model(shape("llama"), has_scalar=True), "f16"),
    }
    for told, (made, dtype) in refused.items():
        with pytest.raises(ConfigError, match=told):
            write(tmp_path, made, dtype)


CHANGES = {
    "general.architecture is bert": ("llama", "bert ", 1),
    "llama.block_count is missing": ("llama.block_count", "llama.block_COUNT", 1),
    "tensor blk.1.ffn_up.weight is missing": ("blk.1.ffn_up.weight", "blk.1.ffn_UP.weight", 1),
    "tokenizer.ggml.pre is 'stablelmx'; did you mean 'stablelm2'": ("stablelm2", "stablelmx", 1),
    "only gpt2, which is byte-level BPE": ("gpt2", "bert", 1),
    "names a token twice": ("<|user|>", "<|tool|>", 1),
    "not two tokens that make a third": ("t h", "t  ", 1),
}


@pytest.mark.parametrize("told", CHANGES)
def test_a_changed_file_is_refused_with_the_field_or_tensor(told, tmp_path):
    file = write(tmp_path, model(shape("llama")))
    old, new, times = CHANGES[told]
    content = file.read_bytes()
    assert old.encode() in content
    file.write_bytes(content.replace(old.encode(), new.encode(), times))
    with pytest.raises(ArtefactError, match=told):
        read_gguf(file)


def test_random_damage_is_refused_or_harmless(tmp_path):
    """Flipped bytes and cut ends: an ArtefactError or a whole model with finite weights, never anything else."""
    content = write(tmp_path, model(shape("llama", num_layers=1))).read_bytes()
    file, draw, refused = tmp_path / "damaged.gguf", np.random.default_rng(11), 0
    header = content.index(b"output_norm.weight") + 60
    for number in range(NUM_DAMAGED):
        damaged = np.frombuffer(content, np.uint8).copy()
        for at in draw.integers(0, header if number % 4 else len(content), draw.integers(1, 4)):
            damaged[at] = draw.integers(0, 256)
        end = draw.integers(0, len(content)) if number % 5 == 0 else len(content)
        file.write_bytes(damaged[:end].tobytes())
        try:
            read = read_gguf(file)
        except ArtefactError:
            refused += 1
        else:
            assert all(tensor.isfinite().all() for tensor in read.model.state_dict().values())
    assert 0 < refused < NUM_DAMAGED
