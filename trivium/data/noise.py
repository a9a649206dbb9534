"""NEFTune: a source whose examples carry what the noise on their embeddings follows from.

Jain et al. 2023, arXiv:2310.05914, algorithm 1: while a model is fine-tuned, numbers uniform in (-1, 1) times alpha / sqrt(L d) are
added to the embeddings of a sequence of L tokens, d wide. The noise is a function of (seed, step, number of the sequence in the step,
position), so it is the same after a resume and however sequences share rows and micro-batches. L is the sequence's own length; the
authors' code takes that of the padded batch. What is measured comes from other examples, so there is none in evaluation. The noise
itself is in nn/noise.py.
"""

import math

import numpy as np

from trivium.core.seeds import key, uniforms
from trivium.core.types import Example, Group
from trivium.data.sources import Source

KEYS = 1 << 24  # whole numbers that float32 holds


class NoisyEmbeddings:
    """A source that adds the columns `noise_key` and `noise_scale` to the groups of another one. width: of the embeddings, d."""

    def __init__(self, source: Source, *, alpha: float, width: int, seed: int) -> None:
        self.source, self.alpha, self.width, self.seed = source, alpha, width, seed

    def __call__(self, step: int) -> list[Group]:
        """The groups of step n."""
        stream, number, groups = key(self.seed, "noise on embeddings", step), 0, []
        for group in self.source(step):
            groups.append(tuple(self._noisy(item, stream, number + index) for index, item in enumerate(group)))
            number += len(group)
        return groups

    def _noisy(self, item: Example, stream: int, number: int) -> Example:
        length = len(item.tokens)
        drawn = uniforms(stream, np.full(length, number), np.arange(length))
        scale = self.alpha / math.sqrt(length * self.width)
        return item.with_columns(noise_key=np.floor(drawn * KEYS).astype(np.float32), noise_scale=np.full(length, scale, np.float32))
