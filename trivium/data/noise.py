"""Noise while a model is fine-tuned: sources whose examples carry what it follows from, so that it is a function of (seed, step).

It depends on the number of the sequence in the step and the position besides, so it is the same after a resume and however sequences share
rows and micro-batches. What is measured comes from other examples, so there is none in evaluation. The numbers themselves are in
nn/noise.py.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from trivium.core.seeds import key, uniforms
from trivium.core.types import Example, Group
from trivium.data.sources import Source

KEYS = 1 << 24  # whole numbers that float32 holds
Columns = Callable[[np.ndarray], Mapping[str, np.ndarray]]  # keys of a sequence's tokens, (L,) -> columns of it


def noisy_embeddings(source: Source, *, alpha: float, width: int, seed: int) -> Source:
    """NEFTune: a source that adds the columns `noise_key` and `noise_scale` to the groups of another. width: of the embeddings, d.

    Jain et al. 2023, arXiv:2310.05914, algorithm 1: numbers uniform in (-1, 1) times alpha / sqrt(L d) are added to the embeddings of a
    sequence of L tokens, d wide. L is the sequence's own length; the authors' code takes that of the padded batch.
    """

    def columns(key_L: np.ndarray) -> Mapping[str, np.ndarray]:
        scale = alpha / math.sqrt(len(key_L) * width)
        return {"noise_key": key_L, "noise_scale": np.full(len(key_L), scale, np.float32)}

    return lambda step: _keyed(source(step), key(seed, "noise on embeddings", step), columns)


def with_dropout(source: Source, *, share: float, seed: int) -> Source:
    """A source that adds the columns `dropout_key` and `dropout_share` to the groups of another.

    Of what each attention and each MLP adds to the stream a share of the numbers is left out, and the others are divided by what stays
    (Srivastava et al. 2014, JMLR 15:1929; on the residual stream as GPT-2 and InstructGPT have it, Ouyang et al. 2022, C.1).
    """

    def columns(key_L: np.ndarray) -> Mapping[str, np.ndarray]:
        return {"dropout_key": key_L, "dropout_share": np.full(len(key_L), share, np.float32)}

    return lambda step: _keyed(source(step), key(seed, "dropout", step), columns)


def _keyed(groups: Sequence[Group], stream: int, columns: Columns) -> list[Group]:
    """The same groups with columns made of a key a token, which depends on the stream, the number of its sequence and its position."""
    number, found = 0, list[Group]()
    for group in groups:
        found.append(tuple(_with(item, stream, number + index, columns) for index, item in enumerate(group)))
        number += len(group)
    return found


def _with(item: Example, stream: int, number: int, columns: Columns) -> Example:
    length = len(item.tokens)
    drawn = uniforms(stream, np.full(length, number), np.arange(length))
    return item.with_columns(**columns(np.floor(drawn * KEYS).astype(np.float32)))
