"""More words for a model: what it said before it says still, and the new rows differ."""

from dataclasses import replace

import pytest
import torch

from tests.nn.io_models import SHAPES, ours
from trivium.core.errors import ConfigError
from trivium.nn.config import llama
from trivium.nn.io.config_json import GUEST
from trivium.nn.model import Model, initialise
from trivium.nn.variants import SPEEDRUN, with_traits
from trivium.nn.vocabulary import with_vocabulary

OWN = "speedrun"


def made(name: str) -> Model:
    if name != OWN:
        return ours(name)
    return initialise(Model(with_traits(llama(vocab_size=40, depth=4, width=32, max_seq_len=16), SPEEDRUN)), seed=1)


@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt2", "gemma2", OWN])
def test_the_old_words_keep_their_logits_and_the_new_ones_have_rows_of_their_own(name):
    model = made(name)
    size = model.config.vocab_size
    wide = with_vocabulary(model, size + 5, seed=1)
    tokens = position = torch.arange(8)[None]
    old, new = (each.trunk(tokens, position) @ each.trunk.head.weight.T for each in (model, wide))
    assert new.shape[-1] == wide.config.vocab_size == size + 5
    torch.testing.assert_close(new[..., :size], old)
    assert len({tuple(row.tolist()) for row in wide.trunk.embed.weight[size:]}) == 5
    assert (wide.trunk.head.weight is wide.trunk.embed.weight) == model.config.tie_head
    assert torch.equal(with_vocabulary(model, size + 5, seed=1).trunk.embed.weight, wide.trunk.embed.weight)
    assert not torch.equal(with_vocabulary(model, size + 5, seed=2).trunk.embed.weight, wide.trunk.embed.weight)


def test_a_model_with_rows_enough_stays_as_it_is():
    model = ours("llama")
    assert with_vocabulary(model, SHAPES["llama"].vocab_size, seed=1) is model


def test_a_guest_is_refused():
    model = ours("llama")
    model.config = replace(model.config, family=GUEST)
    with pytest.raises(ConfigError, match="a guest's vocabulary cannot grow"):
        with_vocabulary(model, 10_000, seed=1)
