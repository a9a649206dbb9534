"""Several models that speak as one: the sum of their logits, and none of the engine's promises lost."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.nn.tiny import VOCAB, tiny_model
from trivium.core.errors import ConfigError
from trivium.generate.blend import BlendedReader, WeightedSum
from trivium.generate.engine import Engine
from trivium.generate.readers import Piece
from trivium.generate.sampling import Sampling, choose
from trivium.nn.native.library import why_not

rng = np.random.default_rng(5)
PROMPTS = [rng.integers(0, VOCAB, length) for length in (1, 9, 20, 20)]
SIZES = {"head_dim": 16, "hidden_size": 32, "intermediate_size": 48}  # which our kernels take
HALVES = WeightedSum([0.5, 0.5])
FIRST, SECOND = (tiny_model(seed=seed, **SIZES) for seed in (0, 1))


@pytest.fixture(params=["torch", pytest.param("native", marks=pytest.mark.skipif(bool(why_not()), reason=str(why_not())))])
def speak(request):
    def answer(*parts, prompts=PROMPTS, temperature=1.0, rows=3):
        (model, weight), *others = parts
        engine = Engine(model, stop_ids=(3,), rows=rows, kernels=request.param, weight=weight, others=others)
        return engine.generate(prompts, Sampling(temperature=temperature, max_new_tokens=12), seed=1)

    return answer


def said(answers) -> list[list[int]]:
    return [item.response.tolist() for item in answers]


def test_a_mixture_with_itself_and_the_whole_of_one_are_that_one(speak):
    alone = said(speak((FIRST, 1.0)))
    assert said(speak((FIRST, 0.75), (FIRST, 0.25))) == alone
    assert said(speak((SECOND, 0.0), (FIRST, 1.0))) == alone
    assert said(speak((SECOND, 1.0), (FIRST, 0.0))) == said(speak((SECOND, 1.0))) != alone


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_log_probs_are_those_of_the_geometric_mixture(speak, temperature):
    for item in speak((FIRST, 0.7), (SECOND, 0.3), temperature=temperature):
        tokens = torch.from_numpy(item.tokens.astype(np.int64))
        with torch.no_grad():
            first, second = (m.trunk.logits(m.trunk(tokens[None], torch.arange(len(tokens))[None]))[0] for m in (FIRST, SECOND))
        log_p, log_q = ((logits / temperature).log_softmax(-1) for logits in (first, second))
        mixture = (0.7 * log_p + 0.3 * log_q).log_softmax(-1)
        start = item.meta["prompt_length"]
        expected = mixture[start - 1 : -1].gather(-1, tokens[start:, None])[:, 0]
        np.testing.assert_allclose(item.columns["old_logprobs"][start:], expected, atol=1e-5)


def test_an_answer_is_the_same_alone_and_in_company(speak):
    together = said(speak((FIRST, 0.5), (SECOND, 0.5)))
    assert said(speak((FIRST, 0.5), (SECOND, 0.5), rows=1)) == together
    assert said(speak((FIRST, 0.5), (SECOND, 0.5), prompts=PROMPTS[:1])) == together[:1]


def test_the_weights_of_all_models_may_change(speak):
    model = tiny_model(seed=0, **SIZES)
    engine = Engine(FIRST, stop_ids=(3,), rows=3, kernels="torch", weight=0.5, others=[(model, 0.5)])
    before = said(engine.generate(PROMPTS, Sampling(max_new_tokens=12), seed=1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    assert said(engine.generate(PROMPTS, Sampling(max_new_tokens=12), seed=1)) == said(speak((FIRST, 0.5), (model, 0.5))) != before


def test_a_sum_by_hand():
    logits = [torch.tensor([values]) for values in ([1.0, 0.0, -1.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0])]
    reader = BlendedReader([fake(each) for each in logits], WeightedSum([1.0, 1.0, -1.0]))
    assert reader.read([Piece(0, 0, [1], is_last=True)]).tolist() == [[1, 2, -2]]
    assert reader.read([Piece(0, 0, [1], is_last=False)]) is logits[0]  # nothing is asked, so nothing is put together


def fake(logits=None, *, shares=True, has_room=True):
    ended = []
    return SimpleNamespace(
        rows=2, capacity=8, piece_tokens=4, how="", choose=choose, ended=ended, read=lambda _: logits, end=ended.append,
        begin=lambda _row, _end, _source, shared, request: (shared if shares else 0) if has_room else None,
    )  # fmt: skip


def test_what_one_of_them_cannot_share_is_read_again_by_all():
    assert BlendedReader([fake(), fake()], HALVES).begin(1, 8, 0, 5) == 5
    assert BlendedReader([fake(), fake(shares=False)], HALVES).begin(1, 8, 0, 5) == 0


def test_a_row_that_only_some_have_room_for_is_given_back():
    first, second = fake(), fake(has_room=False)
    assert BlendedReader([first, second], HALVES).begin(1, 8) is None
    assert first.ended == [1]


def test_models_with_other_words_do_not_speak_together():
    with pytest.raises(ConfigError, match="models with 16 and 32 words cannot speak together"):
        Engine(FIRST, stop_ids=(), others=[(tiny_model(vocab_size=32), 1.0)])
