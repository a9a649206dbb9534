"""Cleaning: order is kept, nothing is lost uncounted, samples are deterministic."""

import json

from hypothesis import given, settings, strategies as st

from tests.text.settled import settled
from trivium.core.types import Document
from trivium.text.filters import C4, Length
from trivium.text.marks import Marks
from trivium.text.pipeline import KEEP_SAMPLES, Funnel
from trivium.text.whole import drop_duplicates


def cleaned(texts: list[str], min_chars: int) -> tuple[list[Document], list[Document], Funnel]:
    """All documents, those that filters and exact deduplication keep, and what was counted."""
    funnel = Funnel()
    documents = [Document(text, str(index)) for index, text in enumerate(texts)]
    passed = settled(documents, [Length(min_chars=min_chars), C4(min_sentences=0)], funnel=funnel)
    return documents, list(drop_duplicates(passed, Marks.of([one.text for one in passed], None).digest_D, funnel=funnel)), funnel


TEXTS = ["one two", "é", "{x}", "one  two", "three four"]


def test_documents_are_counted_by_what_happened_to_them():
    documents, kept, funnel = cleaned(TEXTS, min_chars=2)
    assert kept == [documents[0], documents[4]]
    assert json.loads(json.dumps(funnel.to_dict())) == {
        "read": {"documents": 5, "bytes": 7 + 2 + 3 + 8 + 10},
        "kept": {"documents": 2, "bytes": 17},
        "dropped": {
            "length: too short": {"documents": 1, "bytes": 2},
            "c4: curly bracket": {"documents": 1, "bytes": 3},
            "duplicate": {"documents": 1, "bytes": 8},
        },
        "cut": {},
        "samples": {
            "length: too short": [{"id": "1", "text": "é"}],
            "c4: curly bracket": [{"id": "2", "text": "{x}"}],
            "duplicate": [{"id": "3", "text": "one  two"}],
        },
        "replaced": {},
        "scrubbed": {"documents": 0, "bytes": 0},
    }
    assert funnel.duplicates.documents == 1


@settings(deadline=None)  # the first call makes the tables
@given(st.lists(st.text(st.sampled_from("ab {"), max_size=4), max_size=30))
def test_what_is_read_is_kept_or_dropped_and_the_kept_is_a_subsequence(texts):
    documents, kept, funnel = cleaned(texts, min_chars=1)
    assert funnel.read.documents == len(texts) == funnel.kept.documents + sum(count.documents for count in funnel.dropped.values())
    assert funnel.read.bytes == funnel.kept.bytes + sum(count.bytes for count in funnel.dropped.values())
    assert kept == [document for document in documents if document in kept]
    assert all(len(samples) <= KEEP_SAMPLES for samples in funnel.samples.values())


def test_without_filters_everything_passes():
    documents = [Document("a"), Document("a")]
    assert settled(documents, funnel=Funnel()) == documents
