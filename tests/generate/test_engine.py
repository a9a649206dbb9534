"""The sampler says what the trainer says, and says it whatever else is in the batch."""

import numpy as np
import pytest
import torch

from tests.nn.tiny import VOCAB, tiny_model
from trivium.core.errors import DataError
from trivium.core.types import Example
from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling
from trivium.train.annotate import column_of, logprobs

STOP = 3
rng = np.random.default_rng(5)
PROMPTS = [rng.integers(0, VOCAB, length) for length in (1, 9, 4, 2, 17, 4, 3)]


def engine(*, rows: int = 4, stop_ids: tuple[int, ...] = (STOP,), **options: int) -> Engine:
    return Engine(tiny_model(**options), stop_ids=stop_ids, rows=rows)


def answers(examples: list[Example]) -> list[list[int]]:
    return [item.response.tolist() for item in examples]


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.5])
def test_log_probs_are_the_trainers(temperature):
    speaker = engine()
    said = speaker.generate(PROMPTS, Sampling(temperature=temperature, max_new_tokens=20), seed=1)
    columns = column_of(speaker.model, said, logprobs, rows=3, length=48, temperature=temperature)
    for item, column in zip(said, columns, strict=True):
        np.testing.assert_allclose(item.columns["old_logprobs"], column, atol=1e-5, rtol=0)


def test_a_masked_answer_is_prompt_then_answer_and_keeps_its_end_token():
    for prompt, item in zip(PROMPTS, engine().generate(PROMPTS, Sampling(max_new_tokens=20), seed=1), strict=True):
        assert item.tokens[: len(prompt)].tolist() == prompt.tolist()
        assert item.loss_mask.tolist() == [0.0] * len(prompt) + [1.0] * (len(item.tokens) - len(prompt))
        assert item.meta["prompt_length"] == len(prompt)
        assert item.meta["stopped"] == (item.tokens[-1] == STOP)
        assert STOP not in item.response[:-1]


@pytest.mark.parametrize("rows", [1, 2, 3, 64])
def test_answers_do_not_depend_on_rows_per_batch(rows):
    sampling = Sampling(temperature=1.2, max_new_tokens=20)
    assert answers(engine(rows=rows).generate(PROMPTS, sampling, seed=1)) == answers(engine().generate(PROMPTS, sampling, seed=1))


def test_an_answer_does_not_depend_on_its_neighbours():
    others = [PROMPTS[0], *[np.array([1, 2, 3])] * 3, PROMPTS[4]]
    sampling = Sampling(max_new_tokens=20)
    one, other = (answers(engine(rows=5).generate(prompts, sampling, seed=1)) for prompts in (PROMPTS[:5], others))
    assert (one[0], one[4]) == (other[0], other[4])


def test_seed_purpose_and_step_each_change_the_answers():
    sampling = Sampling(max_new_tokens=20)
    keys = [{"seed": 1}, {"seed": 2}, {"seed": 1, "purpose": "evaluate"}, {"seed": 1, "step": 1}]
    said = [answers(engine().generate(PROMPTS, sampling, **options)) for options in keys]
    assert said == [answers(engine().generate(PROMPTS, sampling, **options)) for options in keys]
    assert all(one != other for number, one in enumerate(said) for other in said[:number])


def test_greedy_is_the_argmax_of_the_full_forward_at_every_step():
    speaker = engine(stop_ids=())
    for item in speaker.generate(PROMPTS, Sampling(temperature=0, max_new_tokens=12), seed=1):
        tokens = torch.from_numpy(item.tokens.astype(np.int64))[None]
        with torch.no_grad():
            best = speaker.model.trunk.head(speaker.model.trunk(tokens, torch.arange(tokens.shape[1])[None])).argmax(-1)[0]
        start = item.meta["prompt_length"]
        assert item.tokens[start:].tolist() == best[start - 1 : -1].tolist()


def test_an_answer_has_at_most_max_new_tokens():
    said = engine(stop_ids=()).generate(PROMPTS, Sampling(max_new_tokens=5), seed=1)
    assert [len(item.response) for item in said] == [5] * len(PROMPTS)
    assert not any(item.meta["stopped"] for item in said)


def test_an_answer_ends_where_the_context_ends():
    said = engine(stop_ids=(), max_seq_len=20).generate(PROMPTS, Sampling(max_new_tokens=50), seed=1)
    assert [len(item.tokens) for item in said] == [20] * len(PROMPTS)


def test_tokens_are_told_as_they_come_and_in_order():
    told: list[tuple[int, int]] = []
    said = engine(rows=3).generate(
        PROMPTS, Sampling(max_new_tokens=20), seed=1, on_token=lambda request, token: told.append((request, token))
    )
    assert [[token for request, token in told if request == number] for number in range(len(PROMPTS))] == answers(said)
    assert [request for request, _ in told[:3]] == [0, 1, 2]


@pytest.mark.parametrize(("length", "allowed"), [(0, "1 to 63"), (64, "1 to 63")])
def test_a_prompt_that_leaves_no_room_is_refused_with_its_numbers(length, allowed):
    with pytest.raises(DataError, match=f"prompt 1 has {length} tokens; it needs {allowed}"):
        engine().generate([PROMPTS[0], np.zeros(length, np.int64)], Sampling(), seed=1)


def test_nothing_asked_is_nothing_said():
    assert engine().generate([], Sampling(), seed=1) == []
