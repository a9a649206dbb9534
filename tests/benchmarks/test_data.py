"""The data benchmark: similarities are exact, planted texts are what they claim, and our side runs."""

import json

import pytest

from benchmarks.data import corpus, findings, index_pass
from benchmarks.ours.data import WORKS
from benchmarks.planted import distinct, enlarged, jaccard, least_alike, planted, recall
from trivium.text.dedup import NearDedup
from trivium.text.tokenizer import train_bpe

TEXTS = [" ".join(f"word{number * 7 % 1000 + place}" for place in range(80)) for number in range(40)]


def test_similarity_by_hand():
    assert jaccard("a b c d e f", "A b, c d e g") == pytest.approx(1 / 3)
    assert jaccard("a b", "a b") == 0  # no shingle at all


def test_planted_variants_are_counted_by_their_similarity():
    pairs = planted(TEXTS, 30)
    found = recall(pairs, NearDedup())
    assert sum(count for _, count in found.values()) == sum(jaccard(*pair) >= 0.7 for pair in pairs)
    assert all(original in TEXTS and original != variant for original, variant in pairs)


def test_what_is_dropped_wrongly_would_be_seen():
    assert least_alike([*distinct(TEXTS, 50), TEXTS[0], f"{TEXTS[0]} end"], NearDedup()) == (1, pytest.approx(76 / 77))


def test_what_is_repeated_is_changed_so_that_nothing_is_a_duplicate():
    texts = distinct(TEXTS, 10)
    found = enlarged(texts, 2 * sum(map(len, texts)) / 1e6)
    assert found[:10] == texts
    assert len(found) >= 20
    assert least_alike(found[:20], NearDedup())[0] == 0


def test_the_corpus_ends_after_some_megabytes(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    size = len(TEXTS[0].encode())
    assert corpus([str(tmp_path / "a.jsonl")], 1.5 * size / 1e6) == TEXTS[:2]


def test_our_side_does_every_work(tmp_path):
    train_bpe(TEXTS, 300).save(tmp_path / "tokenizer.json")
    for make in WORKS.values():
        make({"tokenizer": str(tmp_path / "tokenizer.json")})(TEXTS)
    assert index_pass(1000, 1).lines[0].value > 0
    assert len(findings(TEXTS, 5)) == 3
