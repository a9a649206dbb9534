"""Near duplicates: a comparison of all pairs agrees; order and parts do not matter; chains drop nothing unlike what stays."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from trivium.core.errors import ConfigError
from trivium.text.dedup import MinHash, NearDedup, near

ONE_BAND = NearDedup(threshold=0.75, margin=0, bands=16, rows=1)


def pairs_by_hand(signature_DK: np.ndarray, dedup: NearDedup) -> np.ndarray:
    """(D, D) bool: which agree in all of a band and in enough of everything."""
    banded = signature_DK[:, : dedup.bands * dedup.rows].reshape(len(signature_DK), dedup.bands, dedup.rows)
    are_candidates = (banded[:, None] == banded[None]).all(axis=3).any(axis=2)
    return are_candidates & ((signature_DK[:, None] == signature_DK[None]).mean(axis=2) >= dedup.threshold)


def word_list(draw: np.random.Generator, count: int) -> list[str]:
    return [f"w{number}" for number in draw.integers(0, 5000, count)]


def variant(words: list[str], changes: int, draw: np.random.Generator) -> list[str]:
    changed = list(words)
    for place in draw.choice(len(words), changes, replace=False):
        changed[place] = f"new{draw.integers(10**9)}"
    return changed


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([(16, 1), (5, 3), (2, 4)]), st.sampled_from([1 << 32, 64]))
def test_who_goes_is_like_one_that_stays_and_those_that_stay_are_not_alike(seed, count, shape, memory_bytes):
    draw = np.random.default_rng(seed)
    base = draw.integers(0, 1000, (4, 16), np.uint32)
    signature = base[draw.integers(0, 4, count)]
    signature[draw.random(signature.shape) < 0.15] += 1000  # chains of small differences
    dedup, rank = NearDedup(threshold=0.75, margin=0, bands=shape[0], rows=shape[1], memory_bytes=memory_bytes), draw.permutation(count)
    clusters = dedup(signature, rank)
    pairs, leader, gone = pairs_by_hand(signature, dedup), clusters.leader_D, np.flatnonzero(~clusters.is_kept_D)
    kept = np.flatnonzero(clusters.is_kept_D)
    assert pairs[gone, leader[gone]].all()
    assert (rank[leader[gone]] < rank[gone]).all()
    assert np.array_equal(leader[leader], leader)
    assert pairs[kept][:, kept].sum() == len(kept)
    assert clusters.num_skipped == 0
    order = draw.permutation(count)  # the same documents in another order
    again = dedup(signature[order], rank[order])
    assert order[again.leader_D].tolist() == clusters.leader_D[order].tolist()
    assert dedup(signature[kept], rank[kept]).is_kept_D.all()


def test_a_chain_drops_nothing_that_is_unlike_what_stays():
    chain = np.zeros((4, 16), np.uint32) + np.arange(16, dtype=np.uint32)
    for link in range(1, 4):
        chain[link:, 4 * link - 4 : 4 * link] += np.uint32(100 * link)  # neighbours agree in 12 of 16, others in at most 8
    assert ONE_BAND(chain, np.arange(4)).leader_D.tolist() == [0, 0, 2, 2]
    assert ONE_BAND(chain, np.array([3, 0, 1, 2])).leader_D.tolist() == [1, 1, 1, 3]


def test_planted_near_duplicates_are_found_and_distinct_texts_stay():
    draw = np.random.default_rng(1)
    originals = [word_list(draw, 300) for _ in range(300)]
    copies = [variant(words, 1, draw) for words in originals]  # J of about 0.97
    distinct = [word_list(draw, 300) for _ in range(1000)]
    texts = [" ".join(words) for words in originals + copies + distinct]
    clusters = NearDedup()(MinHash()(texts), np.arange(len(texts)))
    assert (clusters.leader_D[300:600] == np.arange(300)).mean() >= 0.99
    assert clusters.is_kept_D[:300].all()
    assert clusters.is_kept_D[600:].all()
    assert set(np.bincount(clusters.leader_D)[:300].tolist()) <= {1, 2}


def test_texts_without_a_word_stay():
    texts = ["", "?", "", "one and the same text of words", "One and the same text of words."]
    assert NearDedup()(MinHash()(texts), np.array([4, 3, 2, 1, 0])).leader_D.tolist() == [0, 1, 2, 4, 4]


def test_signatures_may_lie_in_a_file(tmp_path):
    draw = np.random.default_rng(2)
    signature = np.repeat(draw.integers(0, 2**32 - 1, (500, 128), np.uint32), 2, axis=0)
    file = np.memmap(tmp_path / "signatures", np.uint32, "w+", shape=signature.shape)
    file[:] = signature
    assert NearDedup()(file, np.arange(1000)).leader_D.tolist() == NearDedup()(signature, np.arange(1000)).leader_D.tolist()


def test_a_bucket_of_thousands_of_different_texts_is_left_after_some_rounds_and_counted(monkeypatch):
    monkeypatch.setattr(near, "_MAX_ROUNDS", 3)
    draw = np.random.default_rng(3)
    signature = draw.integers(0, 2**32 - 1, (10, 16), np.uint32)
    signature[:, 0] = 7
    clusters = NearDedup(bands=1, rows=1)(signature, np.arange(10))
    assert clusters.is_kept_D.all()
    assert clusters.num_skipped == 7


@pytest.mark.parametrize("options", [{"threshold": 0.0}, {"threshold": 1.1}, {"bands": 0}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ConfigError, match="at least 1|at most 1"):
        NearDedup(**options)


def test_bands_must_fit_into_the_signature():
    with pytest.raises(ConfigError, match="21 bands of 6 rows need more than the 64 bins"):
        NearDedup()(np.zeros((1, 64), np.uint32), np.arange(1))


def test_no_documents_are_no_trouble():
    assert len(NearDedup()(MinHash()([]), np.arange(0)).leader_D) == 0
