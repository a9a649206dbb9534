"""Three models as one: the golden vector, the identities bit for bit, and readings that are those of the sum."""

import math
from typing import cast

import numpy as np
import pytest
import torch

from tests.nn.tiny import VOCAB, tiny_model
from trivium.core.errors import ConfigError
from trivium.core.types import example
from trivium.nn.context import ModelInContext
from trivium.nn.proxy import Contrast, ProxyModel
from trivium.nn.stretch import Stretch
from trivium.train.annotate import column_of, entropies, logprobs

BASE, EXPERT, ANTI = (tiny_model(seed=seed) for seed in (0, 1, 2))
EXAMPLES = [example(np.random.default_rng(seed).integers(0, VOCAB, size).tolist()) for seed, size in ((1, 9), (2, 4), (3, 14))]
LOGITS = [torch.randn(64, 300, generator=torch.Generator().manual_seed(seed)) * 7 for seed in (1, 2, 3)]


def said(model, **options):
    return np.concatenate(column_of(model, EXAMPLES, options.pop("read", logprobs), rows=2, length=16, **options))


def test_the_golden_vector():
    """docs: base = [1, 0, -1], expert = [0, 2, 0], anti-expert = [0, 0, 1] -> [1, 2, -2]."""
    total = Contrast()([torch.tensor(values) for values in ([1.0, 0.0, -1.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0])])
    assert total.tolist() == [1, 2, -2]
    torch.testing.assert_close(total.softmax(-1), torch.tensor([0.26538792877, 0.72139918427, 0.01321288695]))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0, 7.0])
def test_an_expert_that_is_its_own_opposite_leaves_the_base_bit_for_bit(alpha):
    base, expert, _ = LOGITS
    assert torch.equal(Contrast(alpha)([base, expert, expert]), base)


def test_a_base_that_is_the_opposite_leaves_the_expert_bit_for_bit():
    base, expert, _ = LOGITS
    assert torch.equal(Contrast()([base, expert, base]), expert)
    assert not torch.equal(base + (expert - base), expert)  # in fp32 it would not


def test_logits_near_nothing_are_right_to_a_part_of_the_base():
    base, expert = torch.tensor([8.0, 8.0]), torch.tensor([1e-12, 3e-9])
    torch.testing.assert_close(Contrast()([base, expert, base]), expert, rtol=0, atol=8 * 2.0**-52)


def test_constants_change_nothing():
    base, expert, anti = LOGITS
    moved = Contrast(1.5)([base + 3, expert - 2, anti + 40])
    torch.testing.assert_close(moved.softmax(-1), Contrast(1.5)([base, expert, anti]).softmax(-1), atol=1e-5, rtol=1e-4)


def test_more_alpha_likes_the_expert_more():
    base, expert, anti = LOGITS
    picked = (expert - anti).argmax(-1)
    likes = [Contrast(alpha)([base, expert, anti]).log_softmax(-1).gather(-1, picked[:, None]).mean().item() for alpha in (0, 0.5, 1)]
    assert likes == sorted(likes)


def test_among_the_bases_likeliest_words_only():
    base, expert, anti = LOGITS
    total, free = Contrast(top_k=5)([base, expert, anti]), Contrast()([base, expert, anti])
    kept = base >= base.topk(5).values[:, -1:]
    assert (total.softmax(-1)[~kept] == 0).all()
    assert torch.equal(total[kept], free[kept])
    assert total.isfinite().all()


def test_padding_of_a_vocabulary_is_cut_away():
    base, expert, anti = LOGITS
    assert torch.equal(Contrast()([base, expert[:, :290], anti[:, :280]]), Contrast()([each[:, :280] for each in LOGITS]))


def test_readings_are_those_of_the_sum():
    model = ProxyModel(BASE, EXPERT, ANTI, Contrast(0.8))
    for temperature in (1.0, 0.7):
        found = said(model, temperature=temperature)
        entropy = said(model, temperature=temperature, read=entropies, with_entropy=True)
        expected, spread = [], []
        for item in EXAMPLES:
            tokens = torch.from_numpy(item.tokens.astype(np.int64))
            with torch.no_grad():
                base, expert, anti = (
                    m.trunk.logits(m.trunk(tokens[None], torch.arange(len(tokens))[None]))[0] for m in (BASE, EXPERT, ANTI)
                )
            log_p = ((base + 0.8 * (expert - anti)) / temperature).log_softmax(-1)
            expected += [0.0, *log_p[:-1].gather(-1, tokens[1:, None])[:, 0].tolist()]
            spread += [0.0, *(-(log_p.exp() * log_p).sum(-1))[:-1].tolist()]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(entropy, spread, atol=1e-4)


def test_the_likeliest_words_are_those_of_the_sum():
    found = said(ProxyModel(BASE, EXPERT, ANTI, Contrast()), read=lambda out, _: out.greedy_BL)
    sizes = np.cumsum([0, *(len(item.tokens) for item in EXAMPLES)])
    for item, start in zip(EXAMPLES, sizes[:-1], strict=True):
        tokens = torch.from_numpy(item.tokens.astype(np.int64))
        with torch.no_grad():
            base, expert, anti = (m.trunk.logits(m.trunk(tokens[None], torch.arange(len(tokens))[None]))[0] for m in (BASE, EXPERT, ANTI))
        assert found[start + 1 : start + len(tokens)].tolist() == ((base + expert - anti).argmax(-1)[:-1] == tokens[1:]).float().tolist()


def test_readings_keep_the_identities():
    assert said(ProxyModel(BASE, EXPERT, EXPERT, Contrast())).tolist() == said(ProxyModel(BASE, ANTI, ANTI, Contrast(3.0))).tolist()
    np.testing.assert_allclose(said(ProxyModel(BASE, EXPERT, EXPERT, Contrast())), said(BASE), atol=1e-6)
    np.testing.assert_allclose(said(ProxyModel(BASE, EXPERT, BASE, Contrast())), said(EXPERT), atol=1e-6)


def test_its_shape_is_the_least_of_theirs_and_its_weights_count_once():
    wide = tiny_model(seed=3, vocab_size=VOCAB + 4, max_seq_len=32)
    model = ProxyModel(BASE, wide, BASE, Contrast())
    assert (model.config.vocab_size, model.config.max_seq_len) == (VOCAB, 32)
    assert model.num_parameters == BASE.num_parameters + wide.num_parameters
    assert math.isfinite(float(said(model).sum()))


def test_its_rows_are_not_shared_by_ranks():
    with pytest.raises(ConfigError, match="parallel.context spreads the rows of our own transformer, not of a proxy; set it to 1"):
        ModelInContext(ProxyModel(BASE, EXPERT, ANTI, Contrast()), cast(Stretch, None))
