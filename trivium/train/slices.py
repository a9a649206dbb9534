"""Tensors that are spread over ranks, on disk: each rank writes what it holds, an index says where that belongs, any number reads it.

A tensor that is whole on every rank is in the file of rank 0 and not in the index, so what one process writes has none.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from trivium.core.errors import ArtefactError

SLICES = "slices.json"
Index = dict[str, dict[str, Any]]  # tensor -> {"shape": of the whole, "slices": [{"file": name, "offset": of its first element}]}


@dataclass(frozen=True, slots=True)
class Piece:
    """A copy, on the CPU, of what this rank writes of a tensor. offset: of its first element in the whole; empty: it is the whole."""

    data: Tensor
    shape: tuple[int, ...] = ()
    offset: tuple[int, ...] = ()


def pieces(tensors: Mapping[str, Tensor], rank: int) -> dict[str, Piece]:
    """What rank `rank` writes of these; no collective. The tensors may change as soon as it is back."""
    found = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, DTensor):
            if rank == 0:
                found[name] = Piece(_copied(tensor))
            continue
        mesh, local = tensor.device_mesh, tensor.to_local()
        is_replica = any(isinstance(place, Replicate) and mesh.get_local_rank(number) for number, place in enumerate(tensor.placements))
        # what ranks that share layers have whole is spread over a mesh for each of them; one of these has rank 0
        is_replica = is_replica or not bool((mesh.mesh == 0).any())
        if is_replica or not local.numel():
            continue
        _, offset = compute_local_shape_and_global_offset(tensor.shape, mesh, tensor.placements)
        found[name] = Piece(_copied(local), tuple(tensor.shape), tuple(offset))
    return found


def write(folder: Path, rank: int, parts: Mapping[str, Mapping[str, Piece]]) -> None:
    """Write the pieces of one rank into a folder: a file for each part, and `slices.json`, which says where they belong."""
    index: dict[str, Index] = {}
    for part, own in parts.items():
        if not own and rank:
            continue
        file = folder / _file(part, rank)
        save_file({name: piece.data for name, piece in own.items()}, file)
        index[part] = {
            name: {"shape": piece.shape, "slices": [{"file": file.name, "offset": piece.offset}]}
            for name, piece in own.items()
            if piece.offset or rank
        }
    (folder / SLICES).write_text(json.dumps(index))


def merged(indices: list[dict[str, Index]]) -> dict[str, Index]:
    """The index of what all ranks have written."""
    whole: dict[str, Index] = {}
    for index in indices:
        for part, tensors in index.items():
            ours = whole.setdefault(part, {})
            for name, found in tensors.items():
                ours.setdefault(name, {"shape": found["shape"], "slices": []})["slices"] += found["slices"]
    return whole


class Saved(Mapping[str, Tensor]):
    """The whole tensors of one part of a checkpoint, each read when it is asked for."""

    def __init__(self, folder: Path, part: str, index: Index) -> None:
        self.folder, self.index, main = folder, index, _file(part, 0)
        files = {main} | {piece["file"] for found in index.values() for piece in found["slices"]}
        self.files = {name: safe_open(folder / name, "pt") for name in sorted(files)}
        self.main = self.files[main]
        self.names = [name for name in self.main.keys() if name not in index] + list(index)  # noqa: SIM118

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.index:
            return self.main.get_tensor(name)
        whole, found = None, 0
        for piece in self.index[name]["slices"]:
            data = self.files[piece["file"]].get_tensor(name)
            whole = torch.empty(self.index[name]["shape"], dtype=data.dtype) if whole is None else whole
            whole[tuple(slice(start, start + size) for start, size in zip(piece["offset"], data.shape, strict=True))] = data
            found += data.numel()
        if whole is None or found != whole.numel():
            raise ArtefactError(f"{self.folder / SLICES}: the slices of {name} hold {found:,} numbers, which is not all of it")
        return whole

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def _file(part: str, rank: int) -> str:
    return f"{part}.{rank}.safetensors" if rank else f"{part}.safetensors"


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()
