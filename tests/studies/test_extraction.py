"""Extraction: what a look-up table knows comes out exactly, and one forward pass says what decoding says."""

import numpy as np
import pytest
import torch

from tests.nn.tiny import VOCAB, tiny_model
from trivium.studies.extraction import LookupTable, decoded_scores, leading_matches
from trivium.studies.memorization import _shuffled

K, L = 4, 3


def texts(count: int, seed: int = 1, *, vocab: int = VOCAB) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, vocab, (count, K + L + 2)))


def test_a_look_up_table_gives_back_exactly_what_it_holds():
    everything = texts(100)
    table = LookupTable(everything[:40], prompt=K, length=L)
    matches = leading_matches(table, everything, prompt=K, length=L, rows=7)
    assert (matches[:40] == L).all()
    assert not (matches[40:] == L).any()


@pytest.mark.parametrize("options", [{}, {"logit_softcap": 2.0}, {"norm": "layer", "is_parallel": True, "is_gated": False}], ids=str)
def test_one_pass_says_whether_decoding_says_it_all(options):
    model, rows = tiny_model(**options), texts(100, vocab=4)
    with torch.no_grad():
        model.trunk.head.weight[4:] = 0  # so that a text of these four is said now and then
    told = decoded(model, rows[::2])  # make half of the texts what the model says, up to a place
    for number, row in enumerate(rows[::2]):
        row[K : K + 1 + number % L] = told[number][: 1 + number % L]
    matches, scores = leading_matches(model, rows, prompt=K, length=L), decoded_scores(model, rows, prompt=K, length=L)
    assert 10 < (matches == L).sum() < 90
    assert ((matches == L) == (scores == 1)).all()
    assert (scores * L >= matches - 1e-9).all()  # decoding may be right again after its first mistake
    assert set(np.round(scores * L, 9)) <= set(range(L + 1))


def decoded(model, rows):
    """What greedy decoding says, token by token, by hand."""
    said = []
    for row in rows:
        tokens = row[:K].tolist()
        for _ in range(L):
            ids = torch.tensor([tokens])
            hidden = model.trunk(ids, torch.arange(len(tokens))[None])
            tokens.append(int(model.trunk.logits(hidden)[0, -1].argmax()))
        said.append(tokens[K:])
    return said


def test_the_scores_are_those_of_decoding_by_hand():
    model, rows = tiny_model(seed=2), texts(20, seed=3)
    expected = [np.mean(np.array(said) == row[K : K + L]) for said, row in zip(decoded(model, rows), rows, strict=True)]
    assert decoded_scores(model, rows, prompt=K, length=L) == pytest.approx(expected)


def test_nothing_is_found_in_nothing():
    assert leading_matches(tiny_model(), [], prompt=K, length=L).tolist() == []


def test_rows_in_another_order_have_the_same_tokens_and_are_not_sorted():
    rows = [np.arange(20) % 7, np.arange(20)]
    shuffled = _shuffled(rows)
    assert [sorted(row) for row in shuffled] == [sorted(row) for row in rows]
    assert all((new != np.sort(old)).any() for new, old in zip(shuffled, rows, strict=True))
    assert all((one == two).all() for one, two in zip(shuffled, _shuffled(rows), strict=True))
