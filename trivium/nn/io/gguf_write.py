"""A model of ours to a GGUF file that llama.cpp runs, through the package `gguf` (an extra: only this file needs it)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trivium.core.config import build, plain
from trivium.core.errors import ConfigError, did_you_mean
from trivium.nn.config import ModelConfig
from trivium.nn.io.families import FAMILIES
from trivium.nn.io.gguf_names import ARCHITECTURES, BIASES, COUNTS, NUMBERS, gguf_name, interleave, num_turned_heads
from trivium.nn.io.gguf_tokenizer import write_tokenizer
from trivium.nn.io.layout import HEAD
from trivium.nn.model import Model
from trivium.text.tokenizer import Tokenizer

FILE_TYPES = {"f32": 0, "f16": 1, "q8_0": 7}  # general.file_type: what most tensors are
QUANTISATION_VERSION = 2
LARGEST_HALF = 65_504.0
_BLOCK = 32  # of Q8_0


def write_gguf(file: Path, model: Model, tokenizer: Tokenizer, tokenizer_config: Mapping[str, Any], *, dtype: str) -> None:
    """Write a model with its tokenizer and chat template. dtype: of the matrices; vectors are fp32, as llama.cpp wants them.

    Raises ConfigError if GGUF or its package cannot express the model, ArtefactError for a tokenizer that it has no words for.
    """
    try:
        import gguf
    except ImportError:
        raise ConfigError("writing GGUF needs the package gguf, which is not installed; pip install 'trivium[gguf]'") from None
    if dtype not in FILE_TYPES:
        raise ConfigError(f"dtype is {dtype!r}{did_you_mean(dtype, FILE_TYPES)}")
    fields = _shape_fields(model) | write_tokenizer(tokenizer, tokenizer_config, model.config.vocab_size)
    writer = gguf.GGUFWriter(file, model.config.family)
    try:
        for key, value in fields.items():
            _add(writer, key, value)
        writer.add_file_type(FILE_TYPES[dtype])
        writer.add_quantization_version(QUANTISATION_VERSION)
        kind = gguf.GGMLQuantizationType[dtype.upper()]
        for name, numbers in _tensors(model).items():
            stored = kind if numbers.ndim > 1 else gguf.GGMLQuantizationType.F32
            _refuse_unfit(name, numbers, stored.name)
            writer.add_tensor(name, gguf.quants.quantize(numbers, stored), raw_dtype=stored)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _shape_fields(model: Model) -> dict[str, Any]:
    """The metadata of the shape. Raises ConfigError if it would be read as another one."""
    config, options = model.config, plain(model.config)
    if config.family not in ARCHITECTURES:
        raise ConfigError(f"a {config.family} model cannot be written as GGUF here; these can: {', '.join(ARCHITECTURES)}")
    if model.scalar_head is not None:
        raise ConfigError("a reward model or critic cannot be written as GGUF; it has a scalar head instead of a language head")
    # exactly what is written: Qwen3 of llama.cpp has no biases, the others none but those of the presence of their tensors
    written = {*COUNTS, *NUMBERS, "vocab_size", "tie_head", *(BIASES if config.family != "qwen3" else ())}
    fixed = {"family": config.family, **FAMILIES[config.family].fixed}
    read = plain(build(ModelConfig, fixed | {name: options[name] for name in written}))
    for option, value in options.items():
        if read[option] != value:
            raise ConfigError(f"{option} = {value} cannot be written as GGUF of architecture {config.family}, which has {read[option]}")
    fields = {key: options[option] for option, key in (COUNTS | NUMBERS).items()}
    fields |= {"vocab_size": config.vocab_size, "attention.value_length": config.head_dim, "rope.dimension_count": config.head_dim}
    return {f"{config.family}.{key}": value for key, value in fields.items()}


def _tensors(model: Model) -> dict[str, np.ndarray]:
    """Name in the file -> numbers in fp32, in the order that llama.cpp rotates."""
    config, tensors = model.config, {}
    for ours, tensor in model.state_dict().items():
        if ours == HEAD and config.tie_head:
            continue
        numbers, num_heads = tensor.float().cpu().numpy(), num_turned_heads(ours, config)
        tensors[gguf_name(ours)] = interleave(numbers, num_heads) if num_heads else numbers
    return tensors


def _refuse_unfit(name: str, numbers: np.ndarray, kind: str) -> None:
    if kind == "Q8_0" and numbers.shape[-1] % _BLOCK:
        raise ConfigError(f"tensor {name} has rows of {numbers.shape[-1]}, and q8_0 needs multiples of {_BLOCK}; use f16")
    if kind != "F32" and not np.abs(numbers).max() <= LARGEST_HALF:
        raise ConfigError(f"tensor {name} has values beyond {LARGEST_HALF:,.0f}, the largest that {kind.lower()} holds; use f32")


def _add(writer: Any, key: str, value: Any) -> None:
    """One field of metadata, by the type of its value."""
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)
