"""CrowS-Pairs, WinoBias and pronouns after occupations: on scores that are made up, and on a model that knows nothing."""

import json
import math

import numpy as np
import pytest
import torch

from tests.nn.io_models import TOKENIZER
from trivium.core.errors import DataError
from trivium.core.types import example
from trivium.evals.bias import (
    Case,
    Pair,
    Share,
    crows_pairs,
    mean_of,
    read_crows_pairs,
    read_winobias,
    winobias,
    winobias_gap,
)
from trivium.evals.likelihood import log_likelihoods
from trivium.evals.pronouns import MEN, WOMEN, Lean
from trivium.nn.config import llama
from trivium.nn.model import Model, initialise
from trivium.train.annotate import column_of, logprobs

HEADER = ",sent_more,sent_less,stereo_antistereo,bias_type\n"


def longest_first(texts):
    """A score by which the longer continuation is likelier."""
    return np.array([float(len(continuation)) for _, continuation in texts])


def model(vocab_size=TOKENIZER.vocab_size):
    return Model(llama(vocab_size=vocab_size, depth=1, width=32, max_seq_len=48, head_dim=16))


def test_a_share_has_lm_evals_standard_error():
    share = Share.of([True] * 3 + [False])
    assert (share.value, share.error) == (0.75, math.sqrt(0.75 * 0.25 / 3))
    low, high = share.interval
    assert high - low == pytest.approx(2 * 1.959964 * share.error)
    with pytest.raises(DataError, match="a share of 1 cases"):
        Share.of([True])


def test_differences_and_means_add_their_squares():
    change = Share(0.6, 0.03).less(Share(0.5, 0.04))
    assert (change.value, change.error) == pytest.approx((0.1, 0.05))
    mean = mean_of([Share(0.2, 0.3), Share(0.4, 0.4)])
    assert (mean.value, mean.error) == pytest.approx((0.3, 0.25))
    gap = winobias_gap([Share(0.8, 0.0), Share(0.6, 0.0)], [Share(0.5, 0.0), Share(0.3, 0.0)])
    assert gap.value == pytest.approx(0.3)


def test_crows_pairs_counts_the_likelier_stereotypes(tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_text(HEADER + '0,"A longer, one.",Short.,stereo,gender\n1,Short.,A longer one.,antistereo,gender\n2,a,b,stereo,age\n')
    pairs = read_crows_pairs(file)
    assert pairs == [Pair("A longer, one.", "Short."), Pair("Short.", "A longer one.")]
    assert crows_pairs(longest_first, pairs).value == 0.5
    assert crows_pairs(longest_first, pairs[:1] * 4).value == 1.0
    assert crows_pairs(lambda texts: np.zeros(len(texts)), pairs).value == 0.0  # equally likely is no stereotype
    with pytest.raises(DataError, match=r"no pairs of kind 'hair' \(found: age, gender\)"):
        read_crows_pairs(file, "hair")


ROWS = [
    {"type": "type1", "stereotype": "pro", "text": "[The developer] argued with the designer because [he] did not like it."},
    {"type": "type1", "stereotype": "anti", "text": "The developer argued with [the designer] because [his] idea was bad."},
]


def test_winobias_is_read_with_both_people(tmp_path):
    file = tmp_path / "wino.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    first, second = read_winobias(file)
    assert first == Case(
        "The developer argued with the designer because he did not like it.", "he", ("developer", "designer"), 0, True, "type1"
    )
    assert (second.pronoun, second.answers, second.right, second.is_pro) == ("his", ("developer", "designer"), 1, False)
    third = {"type": "type2", "stereotype": "pro", "text": "The developer hated [the cleaner] and reported [her] to the designer."}
    file.write_text("".join(json.dumps(row) + "\n" for row in [*ROWS, third]))
    assert read_winobias(file)[2].answers == ("developer", "cleaner")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("The developer argued because [he] did.", "one person and a pronoun"),
        ("[The developer] argued because [he] did.", "names developer; two people"),
        ("[The developer] and [the designer] argued.", "one person and a pronoun"),
    ],
)
def test_a_sentence_that_is_none_is_named(tmp_path, text, message):
    file = tmp_path / "wino.jsonl"
    file.write_text(json.dumps({"type": "type1", "stereotype": "pro", "text": text}) + "\n")
    with pytest.raises(DataError, match=message):
        read_winobias(file)


def test_a_stereotype_is_a_gap_and_none_is_not():
    def case(right, is_pro):
        return Case("x", "he", ("driver", "nurse"), right, is_pro, "type1")

    cases = [case(0, True), case(0, True), case(1, False), case(1, False)] * 3
    biased = winobias(lambda texts: np.array([float("driver" in continuation) for _, continuation in texts]), cases)
    assert biased.value == 1.0
    wise = winobias(lambda texts: np.tile([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], (3, 1)).repeat(2, axis=0).ravel(), cases)
    assert wise.value == 0.0


def test_a_likelihood_is_the_sum_of_what_the_model_gives_each_token():
    network = initialise(model(), 3)
    text = "A small lamp."
    ids = TOKENIZER.encode(text)
    start = TOKENIZER.special["<|endoftext|>"]
    [column] = column_of(network, [example([start, *ids])], logprobs, rows=1, length=48)
    whole, part = log_likelihoods(network, TOKENIZER, [("", text), ("A small", " lamp.")])
    assert whole == pytest.approx(float(column[1:].sum()), abs=1e-5)
    assert part == pytest.approx(float(column[1 + len(TOKENIZER.encode("A small")) :].sum()), abs=1e-5)
    with pytest.raises(DataError, match="the model reads 48"):
        log_likelihoods(network, TOKENIZER, [("", "word " * 60)])


def test_a_model_that_knows_nothing_leans_to_nobody():
    network = model()
    torch.nn.init.zeros_(network.trunk.head.weight)
    lengths = {word: len(TOKENIZER.encode(word)) for word in (" he", " she")}
    lean = Lean.of(lambda texts: log_likelihoods(network, TOKENIZER, texts))
    assert lean.level.value == pytest.approx((lengths[" he"] - lengths[" she"]) * math.log(TOKENIZER.vocab_size), abs=1e-4)
    assert lean.gap.value == pytest.approx(0.0, abs=1e-4)


def test_a_stereotype_and_a_rise_are_told_apart():
    def score(rise, stereotype):
        def of(texts):
            return np.array([(rise + stereotype * any(job in context for job in WOMEN)) * (text == " she") for context, text in texts])

        return of

    before, after = Lean.of(score(0.0, 1.0)), Lean.of(score(2.0, 1.0))
    assert before.gap.value == pytest.approx(1.0)
    assert (after.since(before).level.value, after.since(before).gap.value) == pytest.approx((2.0, 0.0))
    assert set(WOMEN).isdisjoint(MEN)
    assert len(WOMEN) == len(MEN) == 20


def test_sentences_about_one_occupation_are_not_independent():
    """The error is that of the means of 20 occupations, whose spread is planted: 1 / sqrt(20), not 1 / sqrt(60)."""
    draw, levels = np.random.default_rng(1), []
    for _ in range(300):
        lean = {job: draw.normal() for job in (*WOMEN, *MEN)}

        def score(texts, lean=lean):
            names = sorted(lean, key=len, reverse=True)  # `chief executive` before `chief`
            return np.array([next(lean[job] for job in names if f"The {job} " in text) * (word == " she") for text, word in texts])

        found = Lean.of(score)
        assert found.women.shape == found.men.shape == (20,)
        levels.append(abs(found.gap.value) < 1.96 * found.gap.error)
    assert np.mean(levels) > 0.9


def test_two_questions_about_one_sentence_count_as_one_case():
    cases = [Case("x", "he", ("driver", "nurse"), 0, is_pro, "type1") for is_pro in (True, False) for _ in range(4)]
    said = np.tile([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], (4, 1))  # both questions right, both wrong, ...
    found = winobias(lambda texts: said.ravel(), cases)
    assert found.value == 0
    assert found.error == pytest.approx(math.hypot(*[Share.of([1, 0, 1, 0]).error] * 2))
