"""Adapters as PEFT directories: adapter_config.json and adapter_model.safetensors, in and out.

`peft` loads what is written here onto the base that transformers loads; what `peft` writes for plain LoRA is read here. A pickle
(adapter_model.bin) is not read. The rows of B lie as the family stores the rows of the matrix it belongs to.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from trivium.core import commit as commits
from trivium.core.errors import ArtefactError, ConfigError, DivergedError
from trivium.nn.adapter import A_LEAF, B_LEAF, attach, fingerprint, linears_of, merge, plain_layout
from trivium.nn.io import adapter_config, tokenizer_files
from trivium.nn.io.adapter_config import AdapterConfig, adapter_json, base_of, read_adapter_config
from trivium.nn.io.config_json import is_guest
from trivium.nn.io.directory import SCALAR_FILE, describe, head_json, load_model, normalisation, read_head_json
from trivium.nn.io.layout import SCORE, Stored
from trivium.nn.io.weights import opened
from trivium.nn.lora import LoRA
from trivium.nn.model import Model

KIND = "adapter"
FILE, PICKLE = "adapter_model.safetensors", "adapter_model.bin"
PREFIX, A, B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True, slots=True)
class _Matrix:
    """A matrix of the family's file that takes an adapter. theirs: its module. ours: the layers whose rows it holds, and how many."""

    theirs: str
    ours: Mapping[str, int]
    columns: int
    row_P: Tensor  # for each of their rows, which row of ours, one layer after the other
    is_transposed: bool

    @property
    def ending(self) -> str:
        """The module's name inside its block."""
        return re.sub(r"^.*?\.\d+\.", "", self.theirs)

    def is_named(self, targets: tuple[str, ...]) -> bool:
        """Whether one of PEFT's target_modules means it."""
        return any(f".{self.theirs}".endswith(f".{target}") for target in targets)


def save_adapter(path: Path, model: Model, lora: LoRA, *, base: Path) -> dict[str, Any]:
    """Commit the adapter of a model as the folder `path` and return its manifest. base: the model directory it belongs to.

    A scalar head is stored whole, as PEFT does with modules_to_save; its gain and bias are in scalar_head.json.
    Raises DivergedError naming a tensor that is not finite.
    """
    state = {name: parameter.detach() for name, parameter in model.named_parameters(remove_duplicate=False)}
    matrices = [matrix for matrix in _matrices(model) if f"{next(iter(matrix.ours))}{A_LEAF}" in state]
    tensors: dict[str, Tensor] = {}
    for matrix in matrices:
        tensors[f"{PREFIX}{matrix.theirs}{A}"] = state[f"{next(iter(matrix.ours))}{A_LEAF}"]
        tensors[f"{PREFIX}{matrix.theirs}{B}"] = torch.cat([state[f"{name}{B_LEAF}"] for name in matrix.ours])[matrix.row_P]
    if model.scalar_head is not None:
        tensors[PREFIX + SCORE] = model.scalar_head.weight.detach()[None]
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise DivergedError(f"{name} has values that are not finite, so the adapter is not written")
    fields = adapter_json(
        base=os.path.relpath(base, path), r=lora.r, alpha=lora.alpha, targets={matrix.ending for matrix in matrices},
        is_transposed=any(matrix.is_transposed for matrix in matrices), has_scalar=model.scalar_head is not None,
    )  # fmt: skip

    def write(folder: Path) -> None:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, folder / FILE, metadata={"format": "pt"})
        tokenizer_files.write_json(folder / adapter_config.FILE, fields)
        if model.scalar_head is not None:
            tokenizer_files.write_json(folder / SCALAR_FILE, head_json(model.scalar_head))

    return commits.commit(path, write, kind=KIND, meta={"base": model.base_fingerprint})


def load_adapter(path: Path, model: Model) -> None:
    """Put the adapter in a folder, ours or PEFT's, onto the model it belongs to, in place.

    Raises ArtefactError in one line: another base, a module that is no linear layer, a tensor missing, extra, misshapen or not
    finite, only a pickle, an adapter that is more than plain LoRA, a reward model's adapter on a model without a scalar head.
    """
    if (path / commits.MANIFEST).exists():
        made_on = commits.verify(path, kind=KIND)["meta"]["base"]
        if made_on != fingerprint(model):
            raise ArtefactError(
                f"{path}: was trained on another base than the one it names: the weights there are not those it started from"
            )
    config, tensors = read_adapter_config(path), _read_tensors(path)
    matrices = _targets(path, config, tensors, _matrices(model))
    if config.has_score and model.scalar_head is None:
        raise ArtefactError(f"{path}: is the adapter of a reward model; it cannot speak")
    _check(path / FILE, tensors, _shapes(config, matrices, model))
    attach(model, [list(matrix.ours) for matrix in matrices], r=config.r, scale=config.scale, seed=0)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for matrix in matrices:
            parameters[f"{next(iter(matrix.ours))}{A_LEAF}"].copy_(tensors[f"{PREFIX}{matrix.theirs}{A}"])
            theirs = tensors[f"{PREFIX}{matrix.theirs}{B}"]
            rows = torch.empty_like(theirs).index_copy(0, matrix.row_P, theirs).split(list(matrix.ours.values()))
            for name, part in zip(matrix.ours, rows, strict=True):
                parameters[f"{name}{B_LEAF}"].copy_(part)
        if config.has_score and model.scalar_head is not None:
            content = read_head_json(path / SCALAR_FILE)
            model.scalar_head.load_state_dict({"weight": tensors[PREFIX + SCORE][0]} | normalisation(content))
            describe(model.scalar_head, content)


def load_merged(
    path: Path, *, compute_dtype: torch.dtype = torch.float32, has_scalar: bool = False, later_on: torch.device | str | None = None
) -> Model:
    """The model in a directory, or that of an adapter's directory: its base with the adapter added to the weights.

    Where the directory was imported as a guest, it is run as one. has_scalar: as `load_model` has it; later_on too, but a guest and a base
    that an adapter is added to are read at once. Raises ArtefactError as
    `load_model` and `load_adapter` do, ConfigError for a guest that is to judge or has an adapter.
    """
    base = base_of(path)
    guest = is_guest(base)
    if guest and has_scalar:
        raise ConfigError(f"{path}: is a guest, which only speaks; reward models and critics are made from one of our families")
    later_on = None if guest or base != path else later_on
    model = load_model(base, compute_dtype=compute_dtype, has_scalar=has_scalar, is_guest=guest, later_on=later_on)
    if base != path:
        load_adapter(path, model)
        merge(model)
    return model


def _matrices(model: Model) -> list[_Matrix]:
    """The linear layers of the blocks, as the family stores them."""
    found = ((name, stored) for name, stored in plain_layout(model).items() if linears_of(stored))
    return [_matrix(name.removesuffix(".weight"), stored, model.config.num_heads) for name, stored in found]


def _matrix(theirs: str, stored: Stored, num_heads: int) -> _Matrix:
    """Which row goes where is learnt from the layout itself: it moves numbers of rows as it would move weights."""
    sizes = {name: shape[0] for name, shape in zip(linears_of(stored), stored.ours.values(), strict=True)}
    columns = next(iter(stored.ours.values()))[1]
    numbers = torch.arange(sum(sizes.values())).split(list(sizes.values()))
    moved = stored.join({name: part[:, None].expand(-1, columns) for name, part in zip(stored.ours, numbers, strict=True)}, num_heads)
    is_transposed = not bool((moved == moved[:, :1]).all())
    return _Matrix(theirs, sizes, columns, moved[0] if is_transposed else moved[:, 0], is_transposed)


def _targets(path: Path, config: AdapterConfig, tensors: Mapping[str, Tensor], matrices: list[_Matrix]) -> list[_Matrix]:
    """The matrices that target_modules names; where it is a pattern, those that have a tensor in the file."""
    if config.targets is None:
        return [matrix for matrix in matrices if {f"{PREFIX}{matrix.theirs}{leaf}" for leaf in (A, B)} & tensors.keys()]
    for target in config.targets:
        if not any(matrix.is_named((target,)) for matrix in matrices):
            known = ", ".join(sorted({matrix.ending for matrix in matrices}))
            raise ArtefactError(f"{path / adapter_config.FILE}: target_modules has {target[:80]!r}; the base's linear layers are: {known}")
    return [matrix for matrix in matrices if matrix.is_named(config.targets)]


def _shapes(config: AdapterConfig, matrices: list[_Matrix], model: Model) -> dict[str, tuple[int, int]]:
    """Name and shape of every tensor of the file."""
    shapes: dict[str, tuple[int, int]] = {PREFIX + SCORE: (1, model.config.hidden_size)} if config.has_score else {}
    for matrix in matrices:
        shapes[f"{PREFIX}{matrix.theirs}{A}"] = (config.r, matrix.columns)
        shapes[f"{PREFIX}{matrix.theirs}{B}"] = (len(matrix.row_P), config.r)
    return shapes


def _check(file: Path, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, int]]) -> None:
    for name, shape in shapes.items():
        if name not in tensors:
            raise ArtefactError(f"{file}: tensor {name} is missing")
        if tuple(tensors[name].shape) != shape:
            found = list(tensors[name].shape)
            raise ArtefactError(f"{file}: tensor {name} has shape {found}; its base and {adapter_config.FILE} ask for {list(shape)}")
        if not tensors[name].isfinite().all():
            raise ArtefactError(f"{file}: tensor {name} has values that are not finite")
    for name in tensors:
        if name not in shapes:
            raise ArtefactError(f"{file}: tensor {name} has no place in the adapter that {adapter_config.FILE} describes")


def _read_tensors(path: Path) -> dict[str, Tensor]:
    file = path / FILE
    if not file.exists() and (path / PICKLE).exists():
        raise ArtefactError(f"{path}: has {PICKLE} but no {FILE}; pickles can run code and are not read: save it as safetensors")
    with opened(file) as source:
        return {name: source.get_tensor(name).float() for name in source.keys()}  # noqa: SIM118  (not a dict)
