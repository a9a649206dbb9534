"""A GGUF file to a model of ours: shape, weights in fp32 whatever they were packed in, and the tokenizer with its chat template."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from trivium.core.config import build
from trivium.core.errors import ArtefactError, ConfigError, did_you_mean
from trivium.nn.config import ModelConfig
from trivium.nn.io.directory import fill
from trivium.nn.io.families import FAMILIES
from trivium.nn.io.fields import LARGEST_COUNT, LARGEST_NUMBER
from trivium.nn.io.gguf_file import GgufFile
from trivium.nn.io.gguf_names import ARCHITECTURES, BIASES, COUNTS, HEAD, NUMBERS, deinterleave, gguf_name, num_turned_heads
from trivium.nn.io.gguf_tokenizer import read_tokenizer
from trivium.nn.io.layout import HEAD as OUR_HEAD
from trivium.nn.model import Model
from trivium.text.tokenizer import Tokenizer

LARGEST = {"max_seq_len": 1 << 20, "num_layers": 1024, "head_dim": 4096}  # beyond any model; tensors must fit the other counts
DEFAULTS = {"rope_theta": 10_000.0}  # what llama.cpp takes when a field is missing


@dataclass(frozen=True, slots=True)
class GgufModel:
    """What a GGUF file holds. tokenizer_config: names of bos, eos, pad and unknown token and the chat template."""

    model: Model
    tokenizer: Tokenizer
    tokenizer_config: Mapping[str, Any]


def read_gguf(file: Path) -> GgufModel:
    """Read a model. Raises ArtefactError in one line naming the file and the field or tensor: damaged, or nothing we can compute."""
    gguf = GgufFile(file)
    config = read_shape(gguf)
    tokenizer, tokenizer_config = read_tokenizer(gguf.metadata, config.vocab_size, file)  # before the weights: it costs less
    return GgufModel(_read_model(gguf, config), tokenizer, tokenizer_config)


def read_shape(gguf: GgufFile) -> ModelConfig:
    """The shape that the metadata and the presence of tensors describe."""
    architecture = gguf.metadata.get("general.architecture")
    built = [name for name in ARCHITECTURES if name in FAMILIES]
    if not isinstance(architecture, str) or architecture not in built:
        _fail(gguf, "general.architecture", did_you_mean(str(architecture)[:80], built).removeprefix("; "))
    if "token_embd.weight" not in gguf.tensors:
        raise ArtefactError(f"{gguf.path}: tensor token_embd.weight is missing")
    options: dict[str, Any] = {option: _count(gguf, option, f"{architecture}.{key}") for option, key in COUNTS.items()}
    options |= {option: _number(gguf, f"{architecture}.{key}", DEFAULTS.get(option)) for option, key in NUMBERS.items()}
    options |= {option: tensor in gguf.tensors for option, tensor in BIASES.items()}
    options |= {"vocab_size": gguf.tensors["token_embd.weight"].shape[0], "tie_head": HEAD not in gguf.tensors}
    options["num_kv_heads"] = options["num_kv_heads"] or options["num_heads"]
    options["head_dim"] = options["head_dim"] or options["hidden_size"] // options["num_heads"]
    _refuse_what_is_not_built(gguf, architecture, options["head_dim"])
    try:
        return build(ModelConfig, {"family": architecture, **FAMILIES[architecture].fixed, **options})
    except ConfigError as error:
        raise ArtefactError(f"{gguf.path}: {error}") from None


def _count(gguf: GgufFile, option: str, key: str) -> int | None:
    value, largest = gguf.metadata.get(key), LARGEST.get(option, LARGEST_COUNT)
    if value is None and option in ("num_kv_heads", "head_dim"):
        return None
    if type(value) is not int or not 0 < value <= largest:
        _fail(gguf, key, f"it must be a whole number from 1 to {largest:,}")
    return value


def _number(gguf: GgufFile, key: str, default: float | None) -> float:
    value = gguf.metadata.get(key, default)
    if type(value) not in (int, float) or not 0 < value < LARGEST_NUMBER:
        _fail(gguf, key, "it must be a number above 0")
    return float(str(np.float32(value)))  # 1e-05 is stored as 9.99999975e-06 of fp32


def _refuse_what_is_not_built(gguf: GgufFile, architecture: str, head_dim: int) -> None:
    allowed = {
        "rope.dimension_count": (head_dim,),
        "attention.value_length": (head_dim,),
        "rope.scaling.type": ("none",),
        "attention.sliding_window": (0,),
        "expert_count": (0,),
    }
    for key, values in allowed.items():
        found = gguf.metadata.get(f"{architecture}.{key}", values[0])
        if isinstance(found, np.ndarray) or found not in values:
            _fail(gguf, f"{architecture}.{key}", f"only {values[0]} is supported")


def _read_model(gguf: GgufFile, config: ModelConfig) -> Model:
    with torch.device("meta"):  # no memory before every name and shape was compared
        model = Model(config)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if config.tie_head:
        del wanted[OUR_HEAD]
    names = {gguf_name(ours): ours for ours in wanted}
    for theirs, ours in names.items():
        if theirs not in gguf.tensors:
            raise ArtefactError(f"{gguf.path}: tensor {theirs} is missing")
        if gguf.tensors[theirs].shape != wanted[ours]:
            shape = list(gguf.tensors[theirs].shape)
            raise ArtefactError(f"{gguf.path}: tensor {theirs} has shape {shape}; its metadata asks for {list(wanted[ours])}")
    for theirs in gguf.tensors:
        if theirs not in names:
            raise ArtefactError(f"{gguf.path}: tensor {theirs} has no place in the model that its metadata describes")
    fill(model, {ours: _tensor(gguf, theirs, ours, config) for theirs, ours in names.items()}, gguf.path)
    return model


def _tensor(gguf: GgufFile, theirs: str, ours: str, config: ModelConfig) -> Tensor:
    numbers, num_heads = gguf.read(theirs), num_turned_heads(ours, config)
    return torch.from_numpy(deinterleave(numbers, num_heads) if num_heads else numbers)


def _fail(gguf: GgufFile, key: str, allowed: str) -> NoReturn:
    value = gguf.metadata.get(key)
    raise ArtefactError(f"{gguf.path}: {key} is {str(value)[:80] if value is not None else 'missing'}; {allowed}")
