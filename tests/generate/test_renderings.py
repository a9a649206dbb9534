"""A proxy speaks as the sum of its three models, each with its own prompt and its own cache, alone and in company."""

import numpy as np
import pytest
import torch

from tests.nn.tiny import VOCAB, tiny_model
from trivium.core.errors import DataError
from trivium.generate import readers
from trivium.generate.engine import Engine
from trivium.generate.renderings import Prompt
from trivium.generate.sampling import Sampling
from trivium.nn.native.library import why_not
from trivium.nn.pages import PAGE, PagedCache
from trivium.nn.proxy import NEVER, Contrast, ProxyModel

STOP = 3
SIZES = {"head_dim": 16, "hidden_size": 32, "intermediate_size": 48, "vocab_size": 32, "max_seq_len": 96}  # which our kernels take
BASE, EXPERT, ANTI = (tiny_model(seed=seed, **SIZES) for seed in (0, 1, 2))
OTHER_SHAPE = tiny_model(seed=3, **SIZES | {"hidden_size": 16, "num_layers": 1})
rng = np.random.default_rng(5)


def prompt(own: int, base: int, start: int = 0) -> Prompt:
    """The expert's words around a text, and the base's and anti-expert's; one of three begins like the others."""
    text = np.concatenate([np.arange(start) % VOCAB, rng.integers(4, VOCAB, own)])
    plain = np.concatenate([np.arange(start) % VOCAB, rng.integers(4, VOCAB, base)])
    return Prompt.of(text, (plain, text, plain))


PROMPTS = [prompt(4, 9), prompt(20, 2), prompt(6, 40, start=20), prompt(5, 1, start=20), prompt(1, 1), prompt(9, 9, start=20)]
KINDS = ["torch", "pages", pytest.param("native", marks=pytest.mark.skipif(bool(why_not()), reason=str(why_not())))]


@pytest.fixture(params=KINDS)
def engine(request, monkeypatch):
    if request.param == "pages":
        monkeypatch.setattr(
            readers,
            "cache_within",
            lambda _, model, rows, length: PagedCache(model.config, rows, length, 2 * length // PAGE + 2, torch.float32),
        )

    kernels = "native" if request.param == "native" else "torch"

    def make(base=BASE, expert=EXPERT, anti=ANTI, contrast=None, rows=3):
        model = ProxyModel(base, expert, anti, contrast or Contrast())
        return Engine(model, stop_ids=(STOP,), rows=rows, kernels=kernels)

    make.alone = lambda model: Engine(model, stop_ids=(STOP,), rows=3, kernels=kernels)
    return make


def said(speaker, prompts=PROMPTS, temperature=1.0, **options):
    found = speaker.generate(prompts, Sampling(temperature=temperature, max_new_tokens=12), seed=1, **options)
    return [item.response.tolist() for item in found]


def read_again(model, tokens) -> torch.Tensor:
    """The logits after every token, computed from nothing, (L, V)."""
    ids = torch.as_tensor(np.asarray(tokens, np.int64))
    with torch.no_grad():
        return model.trunk.logits(model.trunk(ids[None], torch.arange(len(ids))[None]))[0]


@pytest.mark.parametrize(("temperature", "alpha"), [(1.0, 1.0), (0.7, 0.4)])
def test_each_model_reads_its_own_words_as_if_nothing_was_cached(engine, temperature, alpha):
    speaker = engine(contrast=Contrast(alpha))
    answers = speaker.generate(PROMPTS, Sampling(temperature=temperature, max_new_tokens=12), seed=1)
    for asked, item in zip(PROMPTS, answers, strict=True):
        answer = item.response
        assert item.tokens[: len(asked)].tolist() == asked.tolist()
        base, expert, anti = (
            read_again(model, [*words, *answer])[len(words) - 1 : -1] for model, words in zip((BASE, EXPERT, ANTI), asked.each, strict=True)
        )
        log_p = ((base + alpha * (expert - anti)) / temperature).log_softmax(-1)
        expected = log_p[torch.arange(len(answer)), torch.from_numpy(answer.astype(np.int64))]
        np.testing.assert_allclose(item.columns["old_logprobs"][len(asked) :], expected, atol=2e-5)


def test_an_answer_is_the_same_alone_and_in_company(engine):
    together = said(engine())
    assert said(engine(rows=1)) == together
    assert said(engine(rows=6)) == together
    for number, alone in enumerate(PROMPTS):
        assert said(engine(), [alone], numbers=[number]) == [together[number]]


def test_the_same_prompt_many_times_is_shared_and_the_same(engine):
    many = [PROMPTS[2]] * 7
    assert said(engine(rows=2), many) == [said(engine(), [each], numbers=[number])[0] for number, each in enumerate(many)]


def test_an_expert_that_is_its_own_opposite_leaves_the_base(engine):
    plain = [np.asarray(each.each[0]) for each in PROMPTS]
    for expert in (EXPERT, OTHER_SHAPE):
        assert said(engine(expert=expert, anti=expert), plain) == said(engine.alone(BASE), plain)
    moved = engine(expert=EXPERT, anti=EXPERT).generate(plain, Sampling(max_new_tokens=12), seed=1)
    alone = engine(base=BASE, expert=BASE, anti=BASE).generate(plain, Sampling(max_new_tokens=12), seed=1)
    for one, other in zip(moved, alone, strict=True):
        assert one.columns["old_logprobs"].tolist() == other.columns["old_logprobs"].tolist()  # bit for bit


def test_a_base_that_is_the_opposite_leaves_the_expert(engine):
    plain = [np.asarray(each) for each in PROMPTS]
    assert said(engine(base=ANTI, anti=ANTI), plain) == said(engine.alone(EXPERT), plain)
    assert said(engine(base=ANTI, anti=ANTI)) == said(engine.alone(EXPERT), plain)  # whatever the words in which they read


@pytest.mark.skipif(bool(why_not()), reason=str(why_not()))
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_twins_are_read_side_by_side_with_the_same_bits(monkeypatch, threads):
    def columns() -> list[list[float]]:
        engine = Engine(ProxyModel(OTHER_SHAPE, EXPERT, ANTI, Contrast()), stop_ids=(STOP,), rows=3)
        found = engine.generate(PROMPTS, Sampling(max_new_tokens=12), seed=1)
        assert calls or not is_paired
        return [item.columns["old_logprobs"].tolist() for item in found]

    calls: list[int] = []
    beside = readers.NativeReader.read_beside
    monkeypatch.setattr(readers.NativeReader, "read_beside", lambda *given: calls.append(1) or beside(*given))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        is_paired = True
        paired = columns()
        is_paired = False
        monkeypatch.setattr(readers.NativeReader, "is_twin_of", lambda *_: False)
        calls.clear()
        assert columns() == paired
        assert not calls
    finally:
        torch.set_num_threads(before)


def test_only_the_bases_likeliest_words_are_said(engine):
    plain = [np.asarray(each) for each in PROMPTS]
    for item in engine(contrast=Contrast(5.0, top_k=2)).generate(plain, Sampling(max_new_tokens=12), seed=1):
        start = len(item.tokens) - len(item.response)
        base = read_again(BASE, item.tokens)[start - 1 : -1]
        likeliest = base.topk(2).indices.tolist()
        assert all(token in words for token, words in zip(item.response.tolist(), likeliest, strict=True))
        assert item.columns["old_logprobs"][start:].min() > NEVER / 10


def test_the_longest_words_must_leave_room(engine):
    long = Prompt.of(np.array([4, 5]), (np.full(96, 4), np.array([4, 5]), np.array([4, 5])))
    with pytest.raises(DataError, match="prompt 0 has 96 tokens; it needs 1 to 95"):
        engine().generate([long], Sampling(), seed=1)
    short = Prompt.of(np.array([4, 5]), (np.full(90, 4), np.array([4, 5]), np.array([4, 5])))
    [item] = engine(base=ANTI, anti=ANTI).generate([short], Sampling(max_new_tokens=50), seed=1)
    assert len(item.response) <= 6


def test_a_part_of_a_prompt_is_a_plain_array():
    assert PROMPTS[0][:2].each == ()
    assert np.asarray(PROMPTS[0]).tolist() == PROMPTS[0].tolist()
