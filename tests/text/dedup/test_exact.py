"""Exact duplicates: what counts as the same text."""

import unicodedata
from hashlib import blake2b

import pytest
from hypothesis import given, strategies as st

from trivium.text.dedup import exact


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
    assert (exact.digest(first) != exact.digest(second)) is is_new


@given(st.text(st.sampled_from("e\u0301 \t\u2000\u0327\u1100\u1161\u11a8\u212b\x85\u200b"), max_size=30), st.integers(1, 4))
def test_a_text_has_the_same_digest_in_parts_of_any_size(text, part_chars):
    whole = " ".join(unicodedata.normalize("NFC", text).split())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "_PART_CHARS", part_chars)
        assert exact.digest(text) == blake2b(whole.encode(), digest_size=exact.DIGEST_BYTES).digest()
