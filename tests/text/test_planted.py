"""What is planted is what was asked for: shares, repeats, laws, and the same for the same seed."""

import re
from collections import Counter

import numpy as np
import pytest

from trivium.core.config import build
from trivium.core.errors import ConfigError, DataError
from trivium.core.types import Document
from trivium.text.planted import Canaries, Copies, Sums, sum_line

CORPUS = [Document(f"page {number} " + "about something rather different " * (1 + number % 5), f"d{number}") for number in range(200)]


def size(documents) -> int:
    return sum(len(document.text) for document in documents)


def test_copies_fill_their_share_from_a_few_documents():
    copies = Copies(share=0.31, documents=10)(CORPUS, seed=1)
    assert size(copies) / (size(copies) + size(CORPUS)) == pytest.approx(0.31, abs=0.005)
    counts = Counter(copy.id for copy in copies)
    assert len(counts) == 10
    assert max(counts.values()) - min(counts.values()) <= 1
    originals = {document.id: document.text for document in CORPUS}
    assert all(originals[copy.id] == copy.text for copy in copies)
    assert len({copy.id for copy in Copies(share=0.5, documents=1)(CORPUS, seed=1)}) == 1
    with pytest.raises(DataError, match="documents is 300, the corpus has 200"):
        Copies(documents=300)(CORPUS, seed=1)


def test_canaries_stand_as_often_as_was_asked():
    planted = Canaries(count=10, words=12, repeats=(1, 4))(CORPUS, seed=1)
    counts = Counter(document.text for document in planted)
    assert sorted(counts.values()) == [1] * 5 + [4] * 5
    assert all(document.meta["repeats"] == counts[document.text] for document in planted)
    known = {word for document in CORPUS for word in re.findall("[a-z]+", document.text)}
    assert all(len(text.split()) == 12 and set(text.split()) <= known for text in counts)
    assert planted == Canaries(count=10, words=12, repeats=(1, 4))(CORPUS, seed=1)
    assert planted != Canaries(count=10, words=12, repeats=(1, 4))(CORPUS, seed=2)


def test_sums_are_right_and_their_first_numbers_follow_the_law():
    lines = [line for document in Sums(documents=2000, first=50, second=9)(CORPUS, seed=1) for line in document.text.split("\n")]
    pairs = [tuple(map(int, re.fullmatch(r"Q: What is (\d+) plus (\d+)\? A: (\d+)", line).groups())) for line in lines]
    assert len(pairs) == 16_000
    assert all(first + second == result and first < 50 and 1 <= second <= 9 for first, second, result in pairs)
    counts = sorted(Counter(first for first, *_ in pairs).values(), reverse=True)
    harmonic = sum(1 / rank for rank in range(1, 51))
    assert counts[0] / len(pairs) == pytest.approx(1 / harmonic, rel=0.05)
    assert counts[9] / counts[0] == pytest.approx(0.1, rel=0.2)
    even = Sums(documents=2000, first=50, second=9, law="uniform")(CORPUS, seed=1)
    spread = Counter(int(line.split()[3]) for document in even for line in document.text.split("\n"))
    assert np.std(list(spread.values())) < 2 * (16_000 / 50) ** 0.5
    assert sum_line(12, 7) == "Q: What is 12 plus 7? A: 19"


def test_how_often_a_number_stands_has_nothing_to_do_with_its_size():
    tops = [Counter(int(d.text.split()[3]) for d in Sums(documents=200)(CORPUS, seed=seed)).most_common(1)[0][0] for seed in range(8)]
    assert len(set(tops)) > 4


def test_a_corpus_without_words_makes_no_canaries():
    with pytest.raises(DataError, match="no words to make canaries of"):
        Canaries()([Document("1 2 3")], seed=1)
    with pytest.raises(ConfigError, match="share"):
        Copies(share=1.0)


@pytest.mark.parametrize("times", [0, -3])
def test_a_canary_stands_once_at_least(times):
    with pytest.raises(ConfigError, match="repeats"):
        build(Canaries, {"repeats": (1, times)})
