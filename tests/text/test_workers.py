"""Judging in processes gives what judging here gives, in order, and says when a process dies."""

import numpy as np
import pytest

from tests.text.settled import settled
from trivium.core.errors import RankError
from trivium.core.types import Document
from trivium.text import workers
from trivium.text.dedup import MinHash
from trivium.text.filters import C4, Length
from trivium.text.judge import batches, judge
from trivium.text.marks import Marks
from trivium.text.pipeline import Funnel, settle
from trivium.text.workers import Judges, Task

FILTERS = [Length(min_chars=3), C4(min_sentences=0)]
DOCUMENTS = [
    Document("ab{é"[number % 4] * (number % 7) + " me@example.com" * (number % 2), str(number), meta={"n": number}) for number in range(90)
]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr("trivium.text.judge.BATCH_CHARS", 40)
    monkeypatch.setattr("trivium.text.judge.LEAST_CHARS", 1)
    monkeypatch.setattr(workers, "_BATCHES_HERE", 2)


def test_processes_change_neither_verdicts_nor_order():
    cut = list(batches(DOCUMENTS))
    assert len(cut) > 10
    expected = [(batch, judge(batch, FILTERS, ["email"])) for batch in cut]
    assert any(verdict.replaced for _, verdicts in expected for verdict in verdicts)
    for num_workers in (1, 2, 3):
        with Judges(Task(FILTERS, ["email"]), num_workers) as judges:
            halves = [judged for part in (cut[:7], cut[7:]) for judged in judges(part)]  # processes stay for the second
        assert [(judged.documents, judged.verdicts) for judged in halves] == expected
        assert {judged.marks for judged in halves} == {None}


def test_marks_are_those_of_what_stays_after_replacing():
    cut, task = list(batches(DOCUMENTS)), Task(FILTERS, ["email"], has_marks=True, minhash=MinHash())
    for num_workers in (1, 2):
        with Judges(task, num_workers) as judges:
            for judged in judges(cut):
                texts = [document.text for document in settle(judged, Funnel())]
                expected = Marks.of(texts, MinHash())
                assert np.array_equal(judged.marks.digest_D, expected.digest_D)
                assert np.array_equal(judged.marks.signature_DK, expected.signature_DK)


def test_the_funnel_is_the_same_for_any_number_of_processes():
    funnels = [Funnel(), Funnel()]
    kept = [
        settled(DOCUMENTS, FILTERS, funnel=funnel, scrub=["email"], num_workers=number) for number, funnel in enumerate(funnels, start=1)
    ]
    assert kept[0] == kept[1]
    assert funnels[0] == funnels[1]
    assert funnels[0].replaced["email"].documents > 0


def test_a_process_that_dies_is_an_error_and_none_stays(monkeypatch):
    monkeypatch.setattr(workers, "_PROGRAM", "import sys; sys.exit(3)")
    with Judges(Task(FILTERS), 2) as judges, pytest.raises(RankError, match="ended with code 3"):
        list(judges(batches(DOCUMENTS)))


def test_batches_lose_nothing_and_a_short_corpus_is_one():
    assert [document for batch in batches(DOCUMENTS) for document in batch] == DOCUMENTS
    assert list(batches([])) == []
    assert list(batches(DOCUMENTS[:2])) == [DOCUMENTS[:2]]
