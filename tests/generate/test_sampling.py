"""Choosing a token: truncation by hand, frequencies by chi-square, numbers that depend on request and position alone."""

import numpy as np
import pytest
import torch

from trivium.core.seeds import _GOLDEN, _MIX_1, _MIX_2, key, mix, uniforms
from trivium.generate.sampling import Sampling, choose

PROBABILITIES = np.array([0.1, 0.4, 0.05, 0.25, 0.2])
LOGITS = torch.from_numpy(np.log(PROBABILITIES)).float()
CHI_SQUARE_4 = 18.47  # 99.9 % of chi-square with 4 degrees of freedom lie below


def draws(sampling: Sampling, count: int = 20_000, logits: torch.Tensor = LOGITS) -> tuple[np.ndarray, np.ndarray]:
    request = np.arange(count)
    tokens, logprobs = choose(logits.expand(count, -1), sampling, key(1, "test"), request, np.full(count, 7))
    return tokens.numpy(), logprobs.numpy()


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.5])
def test_tokens_come_as_often_as_the_distribution_says(temperature):
    expected = PROBABILITIES ** (1 / temperature)
    expected = 20_000 * expected / expected.sum()
    counts = np.bincount(draws(Sampling(temperature=temperature))[0], minlength=5)
    assert ((counts - expected) ** 2 / expected).sum() < CHI_SQUARE_4


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"top_k": 1}, [1]),
        ({"top_k": 3}, [1, 3, 4]),
        ({"top_k": 99}, [0, 1, 2, 3, 4]),
        ({"top_p": 0.39}, [1]),
        ({"top_p": 0.64}, [1, 3]),
        ({"top_p": 0.66}, [1, 3, 4]),
        ({"top_k": 3, "top_p": 0.5}, [1, 3]),
        ({"top_p": 1e-9}, [1]),
    ],
)
def test_truncation_keeps_the_likeliest_tokens_and_renormalises(options, kept):
    tokens, logprobs = draws(Sampling(**options), 4_000)
    assert sorted(set(tokens)) == kept
    np.testing.assert_allclose(np.exp(logprobs), (PROBABILITIES / PROBABILITIES[kept].sum())[tokens], rtol=1e-5)


def test_greedy_takes_the_likeliest_and_reports_its_plain_log_prob():
    tokens, logprobs = draws(Sampling(temperature=0), 3)
    assert tokens.tolist() == [1, 1, 1]
    np.testing.assert_allclose(logprobs, np.log(0.4), rtol=1e-6)


def test_log_probs_are_those_of_the_tempered_distribution():
    tokens, logprobs = draws(Sampling(temperature=0.6), 100)
    np.testing.assert_allclose(logprobs, torch.log_softmax(LOGITS.double() / 0.6, -1).numpy()[tokens], atol=1e-6)


def test_a_draw_depends_on_its_request_and_position_and_not_on_its_neighbours():
    whole, _ = draws(Sampling(), 100)
    odd, _ = choose(LOGITS.expand(50, -1), Sampling(), key(1, "test"), np.arange(1, 100, 2), np.full(50, 7))
    assert odd.tolist() == whole[1::2].tolist()
    elsewhere, _ = choose(LOGITS.expand(100, -1), Sampling(), key(1, "test"), np.arange(100), np.full(100, 8))
    assert elsewhere.tolist() != whole.tolist()


def unmix(value: np.uint64) -> np.uint64:
    """The inverse of core.seeds.mix: finds the position whose uniform number is the largest there is."""
    number = int(value)
    for shift, factor in ((31, _MIX_2), (27, _MIX_1), (30, None)):
        number ^= number >> shift ^ number >> 2 * shift
        if factor is not None:
            number = number * pow(int(factor), -1, 2**64) % 2**64
    return np.uint64((number - int(_GOLDEN)) % 2**64)


def test_the_largest_number_never_draws_a_token_that_was_cut_away():
    stream = 0
    request, everything = np.zeros(1, np.uint64), np.uint64(2**64 - 1)
    [base] = mix(np.array([stream], np.uint64))
    position = np.array([unmix(base ^ unmix(everything))], np.uint64)
    assert uniforms(stream, request, position)[0] == 1 - 2.0**-53
    logits = torch.tensor([[3.0, 1.0, -2.0]])
    token, logprob = choose(logits, Sampling(top_k=2), stream, request, position)
    assert token.tolist() == [1]
    assert torch.isfinite(logprob).all()
