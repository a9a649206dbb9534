"""The sampler says what the trainer says, and says it whatever else is in the batch."""

import numpy as np
import pytest
import torch

from tests.nn.tiny import VOCAB, tiny_model
from trivium.core.errors import ConfigError, DataError
from trivium.core.types import Example
from trivium.generate import readers
from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling
from trivium.learn.optim.recipes import AdamW, MuonAdamW
from trivium.nn.native.library import why_not
from trivium.nn.pages import PAGE, PagedCache
from trivium.train.annotate import column_of, logprobs

STOP = 3
rng = np.random.default_rng(5)
PROMPTS = [rng.integers(0, VOCAB, length) for length in (1, 9, 4, 2, 17, 4, 3)]


WHOLE_VECTORS = {"head_dim": 16, "hidden_size": 32, "intermediate_size": 48}


KINDS = ["torch", "fixed shapes", "pages", pytest.param("native", marks=pytest.mark.skipif(bool(why_not()), reason=str(why_not())))]


@pytest.fixture(params=KINDS)
def engine(request, monkeypatch):
    """Makes engines; every test is about all readers: fixed shapes are for a GPU, and pages for where memory is short."""
    if request.param == "fixed shapes":
        monkeypatch.setattr(readers, "why_not_fixed", lambda _: None)
    if request.param == "pages":  # for two of the longest rows and some short ones
        monkeypatch.setattr(
            readers,
            "cache_within",
            lambda _, model, rows, length: PagedCache(model.config, rows, length, 2 * length // PAGE + 2, torch.float32),
        )

    def make(*, rows: int = 4, stop_ids: tuple[int, ...] = (STOP,), **options: int) -> Engine:
        kernels = "native" if request.param == "native" else "torch"
        made = Engine(tiny_model(**WHOLE_VECTORS | options), stop_ids=stop_ids, rows=rows, kernels=kernels)
        assert (made.why_not_native is None) == (request.param == "native")
        return made

    return make


def answers(examples: list[Example]) -> list[list[int]]:
    return [item.response.tolist() for item in examples]


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.5])
def test_log_probs_are_the_trainers(engine, temperature):
    speaker = engine()
    said = speaker.generate(PROMPTS, Sampling(temperature=temperature, max_new_tokens=20), seed=1)
    columns = column_of(speaker.model, said, logprobs, rows=3, length=48, temperature=temperature)
    for item, column in zip(said, columns, strict=True):
        np.testing.assert_allclose(item.columns["old_logprobs"], column, atol=1e-5, rtol=0)


def test_a_masked_answer_is_prompt_then_answer_and_keeps_its_end_token(engine):
    for prompt, item in zip(PROMPTS, engine().generate(PROMPTS, Sampling(max_new_tokens=20), seed=1), strict=True):
        assert item.tokens[: len(prompt)].tolist() == prompt.tolist()
        assert item.loss_mask.tolist() == [0.0] * len(prompt) + [1.0] * (len(item.tokens) - len(prompt))
        assert item.meta["prompt_length"] == len(prompt)
        assert item.meta["stopped"] == (item.tokens[-1] == STOP)
        assert STOP not in item.response[:-1]


@pytest.mark.parametrize("rows", [1, 2, 3, 64])
def test_answers_do_not_depend_on_rows_per_batch(engine, rows):
    sampling = Sampling(temperature=1.2, max_new_tokens=20)
    assert answers(engine(rows=rows).generate(PROMPTS, sampling, seed=1)) == answers(engine().generate(PROMPTS, sampling, seed=1))


def test_an_answer_does_not_depend_on_its_neighbours(engine):
    others = [PROMPTS[0], *[np.array([1, 2, 3])] * 3, PROMPTS[4]]
    sampling = Sampling(max_new_tokens=20)
    one, other = (answers(engine(rows=5).generate(prompts, sampling, seed=1)) for prompts in (PROMPTS[:5], others))
    assert (one[0], one[4]) == (other[0], other[4])


def test_seed_purpose_and_step_each_change_the_answers(engine):
    sampling = Sampling(max_new_tokens=20)
    keys = [{"seed": 1}, {"seed": 2}, {"seed": 1, "purpose": "evaluate"}, {"seed": 1, "step": 1}]
    said = [answers(engine().generate(PROMPTS, sampling, **options)) for options in keys]
    assert said == [answers(engine().generate(PROMPTS, sampling, **options)) for options in keys]
    assert all(one != other for number, one in enumerate(said) for other in said[:number])


def test_greedy_is_the_argmax_of_the_full_forward_at_every_step(engine):
    speaker = engine(stop_ids=())
    for item in speaker.generate(PROMPTS, Sampling(temperature=0, max_new_tokens=12), seed=1):
        tokens = torch.from_numpy(item.tokens.astype(np.int64))[None]
        with torch.no_grad():
            best = speaker.model.trunk.head(speaker.model.trunk(tokens, torch.arange(tokens.shape[1])[None])).argmax(-1)[0]
        start = item.meta["prompt_length"]
        assert item.tokens[start:].tolist() == best[start - 1 : -1].tolist()


def test_an_answer_has_at_most_max_new_tokens(engine):
    said = engine(stop_ids=()).generate(PROMPTS, Sampling(max_new_tokens=5), seed=1)
    assert [len(item.response) for item in said] == [5] * len(PROMPTS)
    assert not any(item.meta["stopped"] for item in said)


def test_an_answer_ends_where_the_context_ends(engine):
    said = engine(stop_ids=(), max_seq_len=20).generate(PROMPTS, Sampling(max_new_tokens=50), seed=1)
    assert [len(item.tokens) for item in said] == [20] * len(PROMPTS)


def test_tokens_are_told_as_they_come_and_in_order(engine):
    told: list[tuple[int, int]] = []
    said = engine(rows=3).generate(
        PROMPTS, Sampling(max_new_tokens=20), seed=1, on_token=lambda request, token: told.append((request, token))
    )
    assert [[token for request, token in told if request == number] for number in range(len(PROMPTS))] == answers(said)
    assert [request for request, _ in told[:3]] == [0, 1, 2]


@pytest.mark.parametrize(("length", "allowed"), [(0, "1 to 63"), (64, "1 to 63")])
def test_a_prompt_that_leaves_no_room_is_refused_with_its_numbers(engine, length, allowed):
    with pytest.raises(DataError, match=f"prompt 1 has {length} tokens; it needs {allowed}"):
        engine().generate([PROMPTS[0], np.zeros(length, np.int64)], Sampling(), seed=1)


def test_nothing_asked_is_nothing_said(engine):
    assert engine().generate([], Sampling(), seed=1) == []


def test_an_answer_is_the_same_alone_and_in_any_company_greedy_and_drawn(engine):
    crowd = [rng.integers(0, VOCAB, length) for length in rng.integers(1, 40, 23)]
    for sampling in (Sampling(temperature=0, max_new_tokens=9), Sampling(max_new_tokens=9)):
        together = answers(engine(rows=7).generate(crowd, sampling, seed=1))
        for number in (0, 5, 22):
            alone = engine(rows=1).generate([crowd[number]], sampling, seed=1, numbers=[number])
            assert answers(alone) == [together[number]]


def test_samples_of_one_prompt_share_what_was_read(engine):
    prompt = rng.integers(0, VOCAB, 40)
    speaker = engine(rows=4)
    group = speaker.generate([prompt] * 6, Sampling(max_new_tokens=9), seed=1)
    begin, has = speaker._reader.begin, []
    speaker._reader.begin = lambda *where, **whose: has.append(begin(*where, **whose)) or has[-1]
    assert answers(speaker.generate([prompt] * 6, Sampling(max_new_tokens=9), seed=1)) == answers(group)
    assert has == [0, *[39] * 5]
    apart = [engine(rows=1).generate([prompt], Sampling(max_new_tokens=9), seed=1, numbers=[number])[0] for number in range(6)]
    assert answers(group) == answers(apart)


def test_prompts_longer_than_a_piece_are_read_over_several_steps(engine):
    prompts = [rng.integers(0, VOCAB, length) for length in (700, 3, 520, 700)]
    said = engine(rows=4, max_seq_len=800).generate(prompts, Sampling(temperature=0, max_new_tokens=5), seed=1)
    apart = [engine(rows=1, max_seq_len=800).generate([prompt], Sampling(temperature=0, max_new_tokens=5), seed=1)[0] for prompt in prompts]
    assert answers(said) == answers(apart)


def test_each_request_may_have_its_own_length(engine):
    lengths = [1, 7, 3, 12, 2, 5, 9]
    said = engine(rows=2, stop_ids=()).generate(PROMPTS, Sampling(), seed=1, lengths=lengths)
    assert [len(item.response) for item in said] == lengths


def test_the_longest_answers_are_begun_first_so_that_none_ends_alone(engine):
    lengths, begun = [1, 7, 3, 12, 2, 5, 9], []
    engine(rows=2, stop_ids=()).generate(PROMPTS, Sampling(), seed=1, lengths=lengths, on_token=lambda number, _: begun.append(number))
    assert list(dict.fromkeys(begun)) == [3, 6, 1, 5, 2, 4, 0]


def test_what_is_said_may_end_it(engine):
    said = engine(stop_ids=()).generate(PROMPTS, Sampling(max_new_tokens=20), seed=1, is_over=lambda tokens: sum(tokens) > 30)
    for item in said:
        over = np.cumsum(item.response) > 30
        assert item.meta["stopped"] == over.any()
        assert not over[:-1].any()


@pytest.mark.parametrize("recipe", [AdamW(lr=0.1), MuonAdamW(lr=0.1, embed_lr=0.1, head_lr=0.1)])
def test_what_an_optimizer_has_changed_speaks_at_once(engine, recipe):
    speaker = engine()
    before = answers(speaker.generate(PROMPTS, Sampling(max_new_tokens=20), seed=1))
    for parameter in speaker.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    for optimizer in recipe(speaker.model):
        optimizer.step()
    after = answers(speaker.generate(PROMPTS, Sampling(max_new_tokens=20), seed=1))
    fresh = Engine(speaker.model, stop_ids=(STOP,), rows=4, kernels="torch")
    assert after == answers(fresh.generate(PROMPTS, Sampling(max_new_tokens=20), seed=1)) != before


def test_a_repetition_penalty_counts_prompt_and_answer(engine):
    speaker = engine(stop_ids=())
    for item in speaker.generate(PROMPTS, Sampling(temperature=0, repetition_penalty=3.0, max_new_tokens=6), seed=1):
        tokens = torch.from_numpy(item.tokens.astype(np.int64))
        with torch.no_grad():
            logits_LV = speaker.model.trunk.logits(speaker.model.trunk(tokens[None], torch.arange(len(tokens))[None]))[0]
        for place in range(item.meta["prompt_length"], len(tokens)):
            scores, there = logits_LV[place - 1].clone(), tokens[:place].unique()
            scores[there] = torch.where(scores[there] > 0, scores[there] / 3.0, scores[there] * 3.0)
            assert int(scores.argmax()) == item.tokens[place]


def test_a_precision_that_only_the_kernels_have_is_not_quietly_another():
    with pytest.raises(ConfigError, match="precision is 'int8', which only the C\\+\\+ kernels have, but they are switched off"):
        Engine(tiny_model(), stop_ids=(STOP,), precision="int8", kernels="torch")
