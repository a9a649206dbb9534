"""Safetensors files in and out. What is read is compared with what the shape needs before any tensor is loaded. Nothing is unpickled."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from trivium.core.errors import ArtefactError, DivergedError
from trivium.core.regular import regular
from trivium.nn.io.json_file import read_json
from trivium.nn.io.layout import Stored
from trivium.nn.io.tokenizer_files import write_json

FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
READABLE = {"F32", "F16", "BF16"}
MAX_SHARD_BYTES = 5_000_000_000  # what transformers cuts at
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True, slots=True)
class Found:
    """A tensor in a file, not yet loaded, and what it is called there."""

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: str


def write_weights(folder: Path, tensors: Mapping[str, Tensor], dtype: torch.dtype, *, max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
    """Write one model.safetensors in this precision, or shards with an index if it would have more than max_shard_bytes.

    A tensor is never cut, so a shard may be larger. Raises DivergedError naming a tensor that is not finite.
    """
    shards: list[list[str]] = [[]]
    room = max_shard_bytes
    for name, tensor in tensors.items():
        size = tensor.numel() * dtype.itemsize
        if size > room and shards[-1]:
            shards.append([])
            room = max_shard_bytes
        shards[-1].append(name)
        room -= size
    files = [f"model-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)] if len(shards) > 1 else [FILE]
    for file, names in zip(files, shards, strict=True):
        save_file({name: _finite(name, tensors[name], dtype) for name in names}, folder / file, metadata={"format": "pt"})
    if len(shards) > 1:
        total = sum(tensor.numel() * dtype.itemsize for tensor in tensors.values())
        places = {name: file for file, names in zip(files, shards, strict=True) for name in names}
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": places})


def _finite(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    cast = tensor.to("cpu", dtype).contiguous()
    if not cast.isfinite().all():
        raise DivergedError(f"{name} has values that are not finite in {dtype}, so the model is not written")
    return cast


def find_weights(folder: Path) -> dict[str, Found]:
    """Every tensor of a directory, from the headers of its safetensors files: one file, or the shards of an index.

    Raises ArtefactError: no such file, only pickles, a file cut off or not safetensors, an index that does not fit its shards.
    """
    if (folder / FILE).is_file():
        return _header(folder / FILE)
    if (folder / INDEX).is_file():
        return _shards(folder)
    pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
    if pickles:
        raise ArtefactError(f"{folder}: has {pickles[0]} but no {FILE}; pickles can run code and are not read: convert it to safetensors")
    raise ArtefactError(f"{folder}: there is no {FILE}")


def check_weights(found: Mapping[str, Found], stored: Mapping[str, Stored], ignored: tuple[str, ...], folder: Path) -> None:
    """Compare what a directory has with what its config.json needs. Raises ArtefactError naming file and tensor."""
    for name, need in stored.items():
        if name not in found:
            file = folder / (FILE if (folder / FILE).is_file() else INDEX)
            raise ArtefactError(f"{file}: tensor {name} is missing, though config.json asks for it")
        tensor = found[name]
        if tensor.shape != need.shape:
            raise ArtefactError(f"{tensor.file}: tensor {name} has shape {list(tensor.shape)}; config.json asks for {list(need.shape)}")
        if tensor.dtype not in READABLE:
            raise ArtefactError(f"{tensor.file}: tensor {name} has type {tensor.dtype}; it is one of: {', '.join(sorted(READABLE))}")
    for name, tensor in found.items():
        if name not in stored and not name.endswith(ignored):
            raise ArtefactError(f"{tensor.file}: tensor {name} has no place in the model that config.json describes")


def read_weights(found: Mapping[str, Found], stored: Mapping[str, Stored], num_heads: int) -> dict[str, Tensor]:
    """Our tensors in fp32. They are copies: the files may change or go. Raises ArtefactError naming one that is not finite."""
    state: dict[str, Tensor] = {}
    for file in sorted({found[name].file for name in stored}):
        with opened(file) as source:
            for name in (name for name in stored if found[name].file == file):
                state |= stored[name].split(_read(source, found[name], name), num_heads)
    return state


def read_weight(found: Mapping[str, Found], stored: Mapping[str, Stored], num_heads: int, name: str) -> Tensor:
    """One of our tensors, as `read_weights` reads all of them. What is stored in one with others is read with these."""
    theirs = next(theirs for theirs, tensor in stored.items() if name in tensor.ours)
    with opened(found[theirs].file) as source:
        return stored[theirs].split(_read(source, found[theirs], theirs), num_heads)[name]


def _read(source: safe_open, found: Found, name: str) -> Tensor:
    tensor = source.get_tensor(found.name).to(torch.float32, copy=True)
    if not tensor.isfinite().all():
        raise ArtefactError(f"{found.file}: tensor {name} has values that are not finite")
    return tensor


def _header(file: Path) -> dict[str, Found]:
    with opened(file) as source:
        parts = {name: source.get_slice(name) for name in source.keys()}  # noqa: SIM118  (not a dict)
        return {name: Found(file, name, tuple(part.get_shape()), part.get_dtype()) for name, part in parts.items()}


def _shards(folder: Path) -> dict[str, Found]:
    index = folder / INDEX
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ArtefactError(f"{index}: weight_map is missing or empty")
    for name, shard in places.items():
        if not isinstance(shard, str) or Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise ArtefactError(f"{index}: tensor {name} is in {str(shard)[:80]!r}; it must be a .safetensors file beside the index")
    found: dict[str, Found] = {}
    for shard in sorted(set(places.values())):
        for name, tensor in _header(folder / shard).items():
            if places.get(name) != shard:
                raise ArtefactError(f"{folder / shard}: has tensor {name}, which {INDEX} does not list there")
            found[name] = tensor
    for name, shard in places.items():
        if name not in found:
            raise ArtefactError(f"{folder / shard}: tensor {name} is missing, though {INDEX} lists it")
    return found


def opened(file: Path) -> safe_open:
    """A safetensors file. Raises ArtefactError: missing, unreadable, cut off."""
    try:
        return safe_open(regular(file), framework="pt")
    except FileNotFoundError:
        raise ArtefactError(f"{file}: there is no such file") from None
    except OSError as error:
        raise ArtefactError(f"{file}: cannot be read ({error.strerror or error})") from None
    except SafetensorError as error:
        raise ArtefactError(f"{file}: is cut off or not a safetensors file ({error})") from None
