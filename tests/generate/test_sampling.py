"""Choosing a token: truncation by hand, frequencies by chi-square, numbers that depend on request and position alone."""

from functools import partial

import numpy as np
import pytest
import torch

from trivium.core.errors import DivergedError
from trivium.core.seeds import _GOLDEN, _MIX_1, _MIX_2, key, mix, uniforms
from trivium.generate.sampling import Sampling, choose, choose_natively
from trivium.nn.native.library import loaded, why_not

PROBABILITIES = np.array([0.1, 0.4, 0.05, 0.25, 0.2])
LOGITS = torch.from_numpy(np.log(PROBABILITIES)).float()
CHI_SQUARE_4 = 18.47  # 99.9 % of chi-square with 4 degrees of freedom lie below


ways = pytest.mark.parametrize("way", ["torch", pytest.param("native", marks=pytest.mark.skipif(bool(why_not()), reason=str(why_not())))])


def draws(sampling: Sampling, count: int = 20_000, logits: torch.Tensor = LOGITS, way: str = "torch") -> tuple[np.ndarray, np.ndarray]:
    drawn = choose if way == "torch" else partial(choose_natively, loaded())
    return drawn(logits.repeat(count, 1), sampling, key(1, "test"), np.arange(count), np.full(count, 7))


@ways
@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.5])
def test_tokens_come_as_often_as_the_distribution_says(temperature, way):
    expected = PROBABILITIES ** (1 / temperature)
    expected = 20_000 * expected / expected.sum()
    counts = np.bincount(draws(Sampling(temperature=temperature), way=way)[0], minlength=5)
    assert ((counts - expected) ** 2 / expected).sum() < CHI_SQUARE_4


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"top_k": 1}, [1]),
        ({"top_k": 3}, [1, 3, 4]),
        ({"top_k": 99}, [0, 1, 2, 3, 4]),
        ({"top_k": 2**32 + 1}, [0, 1, 2, 3, 4]),  # 1 in 32 bits
        ({"top_p": 0.39}, [1]),
        ({"top_p": 0.64}, [1, 3]),
        ({"top_p": 0.66}, [1, 3, 4]),
        ({"top_k": 3, "top_p": 0.5}, [1, 3]),
        ({"top_p": 1e-9}, [1]),
        ({"top_p": 1e-50}, [1]),  # 0 in fp32
        ({"min_p": 0.49}, [1, 3, 4]),
        ({"min_p": 0.51}, [1, 3]),
        ({"min_p": 0.3, "top_p": 0.7}, [1, 3]),
    ],
)
@ways
def test_truncation_keeps_the_likeliest_tokens_and_renormalises(options, kept, way):
    tokens, logprobs = draws(Sampling(**options), 4_000, way=way)
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
    assert np.isfinite(logprob).all()


@ways
@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0}, {"temperature": 0.7, "top_k": 40}, {"top_p": 0.8}, {"min_p": 0.05, "temperature": 1.3}, {"top_p": 0.999}],
)
def test_both_ways_choose_the_same_from_a_large_vocabulary(options, way):
    logits = 3 * torch.randn(200, 5_003, generator=torch.Generator().manual_seed(4))
    sampling, request, position = Sampling(**options), np.arange(200), np.arange(200)
    expected, expected_logprobs = choose(logits, sampling, key(1, "large"), request, position)
    drawn = choose if way == "torch" else partial(choose_natively, loaded())
    tokens, logprobs = drawn(logits.clone(), sampling, key(1, "large"), request, position)
    same = tokens == expected
    assert same.mean() > 0.99  # where two tokens meet, fp32 and fp64 sums may fall on different sides
    np.testing.assert_allclose(logprobs[same], expected_logprobs[same], atol=2e-5)


@ways
def test_a_repeated_token_pays_a_penalty_by_hand(way):
    logits = torch.tensor([[2.0, 1.9, -1.0, -1.5]])
    drawn = choose if way == "torch" else partial(choose_natively, loaded())
    sampling, one = Sampling(temperature=0, repetition_penalty=2.0), np.zeros(1, int)
    token, logprob = drawn(logits, sampling, 0, one, one, [np.array([0, 2, 0])])
    assert token.tolist() == [1]
    paid = np.array([1.0, 1.9, -2.0, -1.5])
    np.testing.assert_allclose(logprob, [1.9 - np.log(np.exp(paid).sum())], atol=1e-6)


@ways
@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_an_error_and_no_token(way, broken):
    logits = LOGITS.clone()
    logits[2] = broken
    with pytest.raises(DivergedError, match="not finite"):
        draws(Sampling(), 3, logits, way=way)


def test_only_the_whole_distribution_is_fit_for_reinforcement_learning():
    assert Sampling(temperature=0.7).is_whole
    others = [{"temperature": 0}, {"top_k": 3}, {"top_p": 0.9}, {"min_p": 0.1}, {"repetition_penalty": 1.1}]
    assert not any(Sampling(**options).is_whole for options in others)
