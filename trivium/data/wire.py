"""Examples and columns as bytes, for other processes: safetensors, so that whatever comes back is numbers and nothing else."""

import json
from collections.abc import Sequence

import numpy as np
from safetensors.numpy import load, save

from trivium.core.types import Example


def columns_to_bytes(columns: Sequence[np.ndarray]) -> bytes:
    """Arrays of one dtype, (L,) each, one after the other."""
    return save({"sizes": np.array([len(column) for column in columns], np.int64), "all": _joined(columns)})


def columns_from_bytes(sent: bytes) -> list[np.ndarray]:
    """What `columns_to_bytes` was given."""
    found = load(sent)
    return _cut(found["all"], found["sizes"])


def examples_to_bytes(examples: Sequence[Example]) -> bytes:
    """Tokens, masks, columns and meta of examples that all have the same columns."""
    names = sorted(examples[0].columns) if examples else []
    tensors = {
        "sizes": np.array([len(item.tokens) for item in examples], np.int64),
        "tokens": _joined([item.tokens for item in examples]),
        "loss_mask": _joined([item.loss_mask for item in examples]),
        **{f"column.{name}": _joined([item.columns[name] for item in examples]) for name in names},
        "meta": np.frombuffer(json.dumps([dict(item.meta) for item in examples]).encode(), np.uint8),
    }
    return save(tensors)


def examples_from_bytes(sent: bytes) -> list[Example]:
    """What `examples_to_bytes` was given."""
    found = load(sent)
    sizes, meta = found["sizes"], json.loads(found["meta"].tobytes())
    tokens, masks = _cut(found["tokens"], sizes), _cut(found["loss_mask"], sizes)
    names = [name for name in found if name.startswith("column.")]
    columns = {name.removeprefix("column."): _cut(found[name], sizes) for name in names}
    return [
        Example(tokens[number], masks[number], {name: column[number] for name, column in columns.items()}, meta[number])
        for number in range(len(sizes))
    ]


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.zeros(0, np.float32)


def _cut(whole: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    return [part.copy() for part in np.split(whole, np.cumsum(sizes)[:-1])] if len(sizes) else []
