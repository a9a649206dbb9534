import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from trivium.core.errors import ConfigError
from trivium.evals.bits_per_byte import BitsPerByte
from trivium.nn.config import llama
from trivium.nn.model import Model
from trivium.nn.proxy import Contrast, ProxyModel


def shard(tokens, num_bytes):
    return SimpleNamespace(tokens=np.array(tokens, np.uint16), num_tokens=len(tokens), num_bytes=num_bytes)


def test_a_model_that_knows_nothing_needs_log_v_bits_a_token():
    model = Model(llama(vocab_size=64, depth=1, width=64, max_seq_len=16))
    torch.nn.init.zeros_(model.trunk.head.weight)  # every logit is 0: the uniform distribution
    measured = BitsPerByte(shard(list(range(40)), 80), seq_len=8, rows=100)(model)
    assert measured.value == pytest.approx(math.log2(64) / 2)  # 6 bits a token, 2 bytes a token
    assert measured.n == 5
    assert measured.low == pytest.approx(measured.high)


def test_a_corpus_shorter_than_a_row_is_one_row():
    model = Model(llama(vocab_size=64, depth=1, width=64, max_seq_len=16))
    torch.nn.init.zeros_(model.trunk.head.weight)
    assert BitsPerByte(shard([1, 2, 3], 3), seq_len=8, rows=4)(model).value == pytest.approx(6)


def test_text_has_no_bits_where_most_words_are_never_said():
    model = Model(llama(vocab_size=64, depth=1, width=64, max_seq_len=16))
    with pytest.raises(ConfigError, match="a proxy with top_k=5 gives most words no probability, .* use top_k=0"):
        BitsPerByte(shard([1, 2, 3], 3), seq_len=8, rows=4)(ProxyModel(model, model, model, Contrast(top_k=5)))
