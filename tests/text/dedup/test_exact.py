"""Exact duplicates: what counts as the same text."""

import pytest

from trivium.core.types import Document
from trivium.text.dedup import ExactDedup


@pytest.mark.parametrize(
    ("first", "second", "is_new"),
    [
        ("a b", "a b", False),
        ("a  b\n", " a\tb", False),
        ("\u00e9", "e\u0301", False),
        ("a b", "A b", True),
        ("a b", "ab", True),
        ("ﬁ", "fi", True),
    ],
)
def test_texts_are_the_same_up_to_white_space_and_composition(first, second, is_new):
    dedup = ExactDedup()
    assert dedup(Document(first))
    assert dedup(Document(second)) is is_new
    assert (dedup.num_seen, dedup.num_duplicates) == (2, int(not is_new))
