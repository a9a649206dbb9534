"""Requests that come and go while others are in work: what each is answered is its own."""

import numpy as np
import pytest
import torch

from tests.generate.test_engine import PROMPTS, STOP, engine
from tests.nn.tiny import VOCAB
from trivium.core.seeds import key
from trivium.generate.job import Request
from trivium.generate.sampling import Sampling

__all__ = ["engine"]  # a fixture

SAMPLINGS = [Sampling(temperature=0), Sampling(temperature=1.3), Sampling(top_p=0.7), Sampling(temperature=1.3, repetition_penalty=1.2)]


def asked(number: int, told: dict, **more) -> Request:
    prompt = PROMPTS[number % len(PROMPTS)]
    sampling = SAMPLINGS[number % len(SAMPLINGS)]
    return Request(
        prompt, sampling, key(number, "test"), number, len(prompt) + 12, lambda answer: told.__setitem__(number, answer), **more
    )  # fmt: skip


def alone(engine, number: int):
    told: dict = {}
    job = engine(rows=1).session(64)
    job.submit(asked(number, told))
    while job.is_busy:
        job.step()
    return told[number]


def test_requests_of_all_kinds_that_come_at_any_time_are_answered_as_if_alone(engine):
    told: dict = {}
    job = engine(rows=3).session(64)
    for number in range(9):
        job.submit(asked(number, told))
        job.step()
    while job.is_busy:
        job.step()
    for number in range(9):
        expected = alone(engine, number)
        assert told[number].tokens.tolist() == expected.tokens.tolist()
        assert told[number].meta == expected.meta


def test_a_session_says_what_generate_says(engine):
    told: dict = {}
    job = engine().session(64)
    sampling = Sampling(temperature=1.3, max_new_tokens=12)
    for number in (4, 9):
        prompt = PROMPTS[number % len(PROMPTS)]
        stream = key(7, "sample", 0)
        job.submit(
            Request(prompt, sampling, stream, number, len(prompt) + 12, lambda answer, number=number: told.__setitem__(number, answer))
        )
    while job.is_busy:
        job.step()
    expected = engine().generate([PROMPTS[4], PROMPTS[2]], sampling, seed=7, numbers=[4, 9])
    assert [told[number].tokens.tolist() for number in (4, 9)] == [each.tokens.tolist() for each in expected]


def test_a_cancelled_request_ends_after_at_most_one_token_and_leaves_the_others_alone(engine):
    told: dict = {}
    heard = []
    job = engine(rows=2, stop_ids=()).session(64)
    cancelled = asked(1, told, on_token=heard.append)
    for request in (cancelled, asked(2, told), asked(5, told)):
        job.submit(request)
    while len(heard) < 3:
        job.step()
    cancelled.is_cancelled = True
    job.step()
    assert told == {1: None}
    assert len(heard) == 3
    while job.is_busy:
        job.step()
    assert sorted(told) == [1, 2, 5]
    assert len(told[5].response) == 12


def test_a_request_that_waited_for_a_prompt_to_be_read_goes_on_when_that_is_cancelled(engine, monkeypatch):
    long = np.arange(40) % VOCAB
    told: dict = {}
    job = engine(rows=2, stop_ids=()).session(64)
    job.reader.piece_tokens = 4

    def request(number: int) -> Request:
        return Request(long, Sampling(temperature=0), 1, number, 45, lambda answer: told.__setitem__(number, answer))

    first = request(0)
    job.submit(first)
    job.submit(request(1))
    job.step()
    first.is_cancelled = True
    for _ in range(40):
        job.step()
    assert told[0] is None
    assert len(told[1].response) == 5


def test_a_session_forgets_beginnings_of_prompts_that_left(engine):
    told: dict = {}
    job = engine(rows=2, stop_ids=()).session(64)
    for number in range(12):
        prompt = np.full(20, number % VOCAB)
        job.submit(Request(prompt, Sampling(temperature=0), 1, number, 22, lambda answer, number=number: told.__setitem__(number, answer)))
    while job.is_busy:
        job.step()
    assert len(told) == 12
    assert len(job.starts) <= 2


def test_alternatives_are_those_of_the_plain_distribution_best_first(engine):
    told: dict = {}
    heard = []
    job = engine(stop_ids=()).session(64)
    job.submit(asked(0, told, on_token=heard.append, alternatives=3))  # greedy
    job.submit(asked(1, told, alternatives=None))
    while job.is_busy:
        job.step()
    for said in heard:
        logprobs = [logprob for _, logprob in said.likeliest]
        assert len(logprobs) == 3
        assert logprobs == sorted(logprobs, reverse=True)
        assert said.likeliest[0][0] == said.token
        assert said.plain_logprob == pytest.approx(said.logprob, abs=1e-5)


def test_what_is_dropped_is_named(engine):
    told: dict = {}
    job = engine(rows=1, stop_ids=(STOP,)).session(64)
    requests = [asked(number, told) for number in range(3)]
    for request in requests:
        job.submit(request)
    job.step()
    assert set(map(id, job.drop())) == set(map(id, requests))
    assert not job.is_busy


def test_weights_that_change_under_a_request_are_followed_and_what_the_old_ones_read_is_not_shared(engine):
    long, told, noise = np.arange(40) % VOCAB, {}, torch.Generator().manual_seed(1)
    speaker, fresh = engine(rows=2, stop_ids=()), engine(rows=2, stop_ids=())
    job = speaker.session(64)

    def request(number: int, end: int) -> Request:
        return Request(long, Sampling(temperature=0), 1, number, end, lambda answer: told.__setitem__(number, answer))

    [before] = fresh.generate([long], Sampling(temperature=0, max_new_tokens=20), seed=1)
    job.submit(request(0, 60))
    while len(job.going.get(0).tokens if 0 in job.going else long) < 45:
        job.step()
    with torch.no_grad():
        for parameter in speaker.model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=noise))
    job.follow()
    job.submit(request(1, 60))
    while job.is_busy:
        job.step()
    fresh.model.load_state_dict(speaker.model.state_dict())
    [after] = fresh.generate([long], Sampling(temperature=0, max_new_tokens=20), seed=1)
    assert told[1].tokens.tolist() == after.tokens.tolist() != before.tokens.tolist()
    assert told[0].tokens[:45].tolist() == before.tokens[:45].tolist()
    assert told[0].tokens.tolist() != before.tokens.tolist()
