"""Which tensors a model's file holds: their names and shapes, and the parts of ours that each is made of."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trivium.core.errors import ConfigError
from trivium.nn.io.families import FAMILIES
from trivium.nn.io.table import FamilyTable
from trivium.nn.model import Model

HEAD, SCALAR = "trunk.head.weight", "scalar_head."
SCORE = "score.weight"


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor of a file. ours: names and shapes of the parts; several are rows of one matrix.

    is_interleaved: the rows are laid out [heads, parts, head_dim], otherwise part after part. is_transposed: stored as columns.
    """

    shape: tuple[int, ...]
    ours: Mapping[str, tuple[int, ...]]
    is_interleaved: bool = False
    is_transposed: bool = False

    def join(self, state: Mapping[str, Tensor], num_heads: int) -> Tensor:
        """What is written, from our tensors."""
        parts = [state[name].detach() for name in self.ours]
        if self.is_interleaved:
            whole = torch.stack([part.unflatten(0, (num_heads, -1)) for part in parts], dim=1).flatten(0, 2)
        else:
            whole = torch.cat(parts) if len(parts) > 1 else parts[0]
        return (whole.T if self.is_transposed else whole).reshape(self.shape)

    def split(self, tensor: Tensor, num_heads: int) -> dict[str, Tensor]:
        """Our tensors, from what was read."""
        whole = tensor.T if self.is_transposed else tensor
        if self.is_interleaved:
            parts: Sequence[Tensor] = whole.unflatten(0, (num_heads, len(self.ours), -1)).unbind(1)
        else:
            parts = whole.split([shape[0] for shape in self.ours.values()]) if len(self.ours) > 1 else (whole,)
        return {name: part.reshape(shape).contiguous() for part, (name, shape) in zip(parts, self.ours.items(), strict=True)}


def head_name(table: FamilyTable) -> str:
    """What the family calls the weight of the language head."""
    return next(f"{theirs}.weight" for theirs, ours in table.modules.items() if f"{ours[0]}.weight" == HEAD)


def prefix_of(table: FamilyTable, names: Collection[str]) -> str:
    """What a file of the bare transformer, as GPT-2's is, leaves out of every name; "" if these names are whole."""
    embed = next(f"{theirs}.weight" for theirs, ours in table.modules.items() if ours == ("trunk.embed",))
    prefix = embed.split(".")[0] + "."
    return prefix if embed not in names and embed.removeprefix(prefix) in names else ""


def layout(model: Model, *, with_tied_head: bool = False) -> dict[str, Stored]:
    """Name in the file -> what is stored there. The unused head of a scalar model is not stored.

    with_tied_head: a head tied to the embedding is there a second time, as some write it; we do not.
    Raises ConfigError if the model has a tensor that its family has no name for.
    """
    config, table = model.config, FAMILIES[model.config.family]
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    unnamed = {name for name in shapes if not name.startswith(SCALAR)}
    if (config.tie_head and not with_tied_head) or model.scalar_head is not None:
        unnamed.discard(HEAD)
    stored: dict[str, Stored] = {}
    for theirs, modules in table.modules.items():
        for layer in range(config.num_layers if "{}" in theirs else 1):
            for leaf in ("weight", "bias"):
                names = [f"{module.format(layer)}.{leaf}" for module in modules]
                if unnamed.issuperset(names):
                    stored[f"{theirs.format(layer)}.{leaf}"] = _stored({name: shapes[name] for name in names}, theirs, table)
                    unnamed.difference_update(names)
    if unnamed:
        raise ConfigError(f"{config.family} has no name for the tensor {min(unnamed)}, so this model cannot be written")
    if model.scalar_head is not None:
        stored[SCORE] = Stored((1, config.hidden_size), {f"{SCALAR}weight": (config.hidden_size,)})
    return stored


def _stored(ours: Mapping[str, tuple[int, ...]], module: str, table: FamilyTable) -> Stored:
    rows, columns = sum(shape[0] for shape in ours.values()), next(iter(ours.values()))[1:]
    is_transposed = bool(columns) and module.endswith(table.transposed)
    shape = (*columns, rows) if is_transposed else (rows, *columns)
    return Stored(shape, ours, is_interleaved=len(ours) > 1 and table.is_interleaved, is_transposed=is_transposed)
