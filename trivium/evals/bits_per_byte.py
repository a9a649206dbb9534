"""Bits per byte: how well a model predicts held-out text, comparable across tokenizers."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trivium.core.errors import ConfigError
from trivium.core.types import example
from trivium.nn.model import Model
from trivium.nn.proxy import ProxyModel
from trivium.report.intervals import mean_interval
from trivium.text.shards import Shard
from trivium.train.annotate import column_of, logprobs


@dataclass(frozen=True, slots=True)
class Measured:
    """A value with its 95 % interval (None where there is no spread) and how many observations it rests on."""

    value: float
    low: float | None
    high: float | None
    n: int


class BitsPerByte:
    """Loss in bits over UTF-8 bytes, on the first `rows` rows of `seq_len` tokens of a shard.

    Every token of a row but its first is predicted. Bytes are those of the predicted tokens, counted by the shard's average
    over the rows' documents: bits/byte = loss per token / ln 2 x tokens / bytes. The interval is over rows.
    """

    def __init__(self, shard: Shard, *, seq_len: int, rows: int) -> None:
        num_rows = min(rows, shard.num_tokens // seq_len)
        self.rows = [example(np.asarray(shard.tokens[i * seq_len : (i + 1) * seq_len])) for i in range(num_rows)] or [
            example(np.asarray(shard.tokens))
        ]
        self.seq_len, self.bytes_per_token = len(self.rows[0].tokens), shard.num_bytes / shard.num_tokens

    def __call__(self, model: Model) -> Measured:
        """Measure a model. Raises ConfigError for one that gives some words no probability, whose bits are without end."""
        if isinstance(model, ProxyModel) and model.contrast.top_k:
            raise ConfigError(
                f"a proxy with top_k={model.contrast.top_k} gives most words no probability, so text has no bits per byte; use top_k=0"
            )
        columns = column_of(model, self.rows, logprobs, rows=8, length=self.seq_len)
        bits = [-float(column[1:].sum(dtype=np.float64)) / math.log(2) / ((len(column) - 1) * self.bytes_per_token) for column in columns]
        return Measured(*mean_interval(bits), n=len(bits))


Measure = Callable[[Model], Measured]
