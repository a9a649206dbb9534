"""How likely a model finds texts, and continuations of texts: sums of log-probabilities, in nats."""

from collections.abc import Sequence

import numpy as np

from trivium.core.errors import DataError
from trivium.core.types import Example, num_common
from trivium.nn.model import Model
from trivium.text.shards import DOCUMENT_START
from trivium.text.tokenizer import Tokenizer
from trivium.train.annotate import column_of, logprobs


def log_likelihoods(model: Model, tokenizer: Tokenizer, texts: Sequence[tuple[str, str]]) -> np.ndarray:
    """log p(continuation | context) of each (context, continuation), (N,) float64; an empty context gives the likelihood of a whole text.

    Both are tokenized together and cut where the context's tokens end, so spaces belong to the continuation. Raises DataError for one that
    is longer than the model's context.
    """
    first = [tokenizer.special[DOCUMENT_START]] if DOCUMENT_START in tokenizer.special else []
    whole = tokenizer.encode_batch([context + continuation for context, continuation in texts])
    before = tokenizer.encode_batch([context for context, _ in texts])
    examples, longest = [], model.config.max_seq_len
    for (context, _), tokens, known in zip(texts, whole, before, strict=True):
        if len(first) + len(tokens) > longest:
            raise DataError(f"'{context[:40]}...' has {len(tokens):,} tokens, the model reads {longest:,}")
        mask = np.zeros(len(first) + len(tokens), np.float32)
        mask[max(1, len(first) + num_common(known, tokens)) :] = 1
        examples.append(Example(np.concatenate([np.array(first, np.int32), tokens]), mask))
    columns = column_of(model, examples, logprobs, rows=16, length=max(len(each.tokens) for each in examples))
    return np.array([float((column * each.loss_mask).sum(dtype=np.float64)) for column, each in zip(columns, examples, strict=True)])
