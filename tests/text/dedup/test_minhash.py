"""Signatures estimate the similarity of sets without bias and with the error of theory, whatever the length of the texts."""

import numpy as np
import pytest

from trivium.core.errors import ConfigError
from trivium.text.dedup import MinHash, minhash as minhash_file
from trivium.text.dedup.minhash import BATCH_CHARS, EMPTY, batches, densify, similarity
from trivium.text.words import lay_out


def texts_of(shared: int, own: int, trial: int) -> tuple[str, str]:
    """Two texts whose sets of words have `shared` members in common, and `own` each alone."""
    names = [f"w{trial}x{number}" for number in range(shared + 2 * own)]
    return " ".join(names[: shared + own]), " ".join(names[:shared] + names[shared + own :])


@pytest.mark.parametrize(("shared", "own"), [(400, 50), (40, 5), (8, 1), (60, 60), (1, 3), (0, 30)])
def test_agreement_is_the_jaccard_similarity_within_three_sigma_and_its_error_is_that_of_theory(shared, own):
    trials, bins = 300, 128
    pairs = [texts_of(shared, own, trial) for trial in range(trials)]
    minhash = MinHash(num_bins=bins, ngram=1)
    estimates = similarity(minhash([one for one, _ in pairs]), minhash([other for _, other in pairs]))
    true = shared / (shared + 2 * own)
    sigma = np.sqrt(true * (1 - true) / bins)
    # a set of a few members is hashed to a few values, and its error is that of the draw of those; else a bin is a trial
    assert abs(estimates.mean() - true) <= 3 * max(sigma, np.sqrt(true * (1 - true) / (shared + 2 * own))) / np.sqrt(trials)
    if shared + own >= 400 or true == 0:
        assert np.sqrt(((estimates - true) ** 2).mean()) <= 1.15 * sigma


def test_a_signature_depends_on_its_text_alone():
    texts = ["one two three four five six seven", "a", "", "b c", "x " * 70_000, "one two three four five six seven"]
    alone = np.concatenate([MinHash()([text]) for text in texts])
    assert np.array_equal(MinHash()(texts), alone)
    assert np.array_equal(alone[0], alone[5])


LONG = {
    "prose": "Call me Ishmael. Some years ago, never mind how long; " * 20 + "having little or no money in my purse",
    "marks": "one two" + " .,;" * 200 + " three four five six" + "-" * 300,
    "long words": " ".join(["a" * 70, "b", "c" * 150, "d", "e", "f" * 20, "g"]),
    "few words": "x" * 300 + " -- " + "y" * 100,
    "one letter": "." * 200 + "a",
    "no word": "?" * 300,
    "planes": "\U0001d400\U00020000 \U0001f600x é\u0130 " * 30,
}


@pytest.mark.parametrize("window_chars", [1, 2, 7, 64, 10_000])
@pytest.mark.parametrize("ngram", [1, 5])
@pytest.mark.parametrize("name", LONG)
def test_a_long_text_has_the_same_signature_in_windows_of_any_size(name, ngram, window_chars):
    minhash = MinHash(ngram=ngram)
    assert len(LONG[name]) < BATCH_CHARS
    assert np.array_equal(densify(minhash._long(LONG[name], window_chars)), minhash([LONG[name]]))


def test_a_long_text_takes_memory_of_a_window(monkeypatch):
    sizes = []
    monkeypatch.setattr(minhash_file, "lay_out", lambda texts: sizes.append(sum(map(len, texts))) or lay_out(texts))
    MinHash()(["to be or not to be " * 30_000])
    assert 8 < len(sizes) < 12
    assert max(sizes) <= BATCH_CHARS


def test_case_punctuation_and_repetition_do_not_matter():
    one, other, again = MinHash()(
        ["To be, or not to be: that!", "to be or not\tTO be -- that", "to be or not to be that to be or not to be that"]
    )
    assert np.array_equal(one, other)
    assert 0 < similarity(one[None], again[None])[0] < 1


def test_texts_below_five_words_are_compared_by_runs_of_characters():
    signature = MinHash()(["the white whale", "The white, whale!", "the white whales", "a mouse", "ab", "ab", "?!", "..."])
    likeness = [similarity(signature[:1], signature[other : other + 1])[0] for other in range(1, 4)]
    assert likeness[0] == 1
    assert 0.7 < likeness[1] < 1
    assert likeness[2] == 0
    assert similarity(signature[4:5], signature[5:6])[0] == 1
    assert similarity(signature[6:7], signature[7:8])[0] == 0  # nothing is like nothing


def test_empty_bins_copy_full_ones_and_nothing_else_changes():
    signature = np.full((3, 32), EMPTY, np.uint32)
    signature[0, 7] = 5
    signature[1] = np.arange(32)
    expected = np.stack([np.full(32, 5), np.arange(32), np.full(32, EMPTY)]).astype(np.uint32)
    assert np.array_equal(densify(signature.copy()), expected)


def test_batches_lose_nothing_and_keep_the_order():
    texts = ["a" * length for length in (1, 5000, 70_000, 0, 3)] * 40
    parts = list(batches(texts, 20_000))
    assert [text for part in parts for text in part] == texts
    assert max(map(len, parts)) <= 80


@pytest.mark.parametrize(("options", "answer"), [({"num_bins": 100}, "power of two"), ({"ngram": 0}, "1 to 50 words")])
def test_wrong_options_are_refused(options, answer):
    with pytest.raises(ConfigError, match=answer):
        MinHash(**options)
