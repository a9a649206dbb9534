"""Many filters over one batch: the first names the reason, whatever became of the others."""

from trivium.core.types import Document
from trivium.text.filters import C4, GopherQuality, Length
from trivium.text.judge import judge, reason_of

FILTERS = [Length(min_chars=3), C4(min_sentences=0), GopherQuality(min_words=2, min_stop_words=0)]
TEXTS = ["", "{", "a {x} b", "abc", "long words here", "Lorem ipsum {", "more long words", "{y}", "12 34 56"]


def alone(text):
    found = ((rule.kind, reason_of(rule, Document(text))) for rule in FILTERS)
    return next((f"{kind}: {reason}" for kind, reason in found if reason), None)


def test_the_first_filter_that_drops_names_the_reason():
    assert [verdict.reason for verdict in judge([Document(text) for text in TEXTS], FILTERS)] == [alone(text) for text in TEXTS]


def test_a_batch_of_which_little_or_nothing_stays_is_judged_the_same():
    for texts in (["", "", "", "long words here", "{z}"], ["", ""], []):
        assert [verdict.reason for verdict in judge([Document(text) for text in texts], FILTERS)] == [alone(text) for text in texts]


def test_what_is_dropped_is_scrubbed_but_not_counted():
    [verdict] = judge([Document("{ me@example.com")], FILTERS, ["email"])
    assert (verdict.reason, verdict.text, verdict.replaced) == ("c4: curly bracket", "{ <EMAIL>", ())
