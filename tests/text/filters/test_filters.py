"""Every rule by hand at its threshold: kept at it, dropped one step beyond."""

import pytest
from hypothesis import given, settings, strategies as st

from trivium.core.config import build
from trivium.core.errors import ConfigError
from trivium.core.types import Document
from trivium.text.filters import C4, FineWeb, GopherQuality, GopherRepetition, Length
from trivium.text.judge import reason_of
from trivium.text.signals import Signals

PROSE = ["the", "people", "of", "that", "land", "have", "waited", "with", "care", "and", "to", "be"]  # 12 words, all eight stop words


def reason(rule, text):
    return reason_of(rule, Document(text))


def words(count, *extra):
    """`count` words of prose, the extra ones last."""
    return " ".join((PROSE * 9000)[: count - len(extra)] + list(extra))


def only(**options):
    """GopherQuality for texts of any length."""
    return GopherQuality(min_words=0, **options)


@pytest.mark.parametrize(
    ("rule", "kept", "dropped", "why"),
    [
        (Length(min_chars=3), "abc", "ab", "too short"),
        (Length(max_chars=3), "abc", "abcd", "too long"),
        (GopherQuality(), words(50), words(49), "too few words"),
        (GopherQuality(), words(100_000), words(100_001), "too many words"),
        (only(min_stop_words=0), "ab abcd", "ab abc", "words too short"),
        (only(min_stop_words=0), "a" * 9 + " " + "b" * 11, "a" * 10 + " " + "b" * 11, "words too long"),
        (only(), words(10, "a#b"), words(10, "a##b"), "too many hash signs"),
        (only(max_ellipsis_lines=1), words(10, "so..."), words(10, "so...", "so…"), "too many ellipses"),
        (only(), words(10, "123", "456"), words(10, "123", "456", "789"), "too few words with a letter"),
        (only(), "people, The cat of it", "people, the cat in it", "too few stop words"),
        (only(), "- the people have that\n" * 9 + "the end", "- the people have that\n" * 10, "too many bullet lines"),
        (
            only(max_symbols_per_word=1),
            "the people of...\n" * 3 + "the people of it\n" * 7,
            "the people of…\n" * 4 + "the people of it\n" * 6,
            "too many lines end in an ellipsis",
        ),
        (C4(), "A b. C d! E f? G h. 'I j.'", "A b. C d! E f? G h 1.5.", "too few sentences"),
        (C4(min_sentences=0), "[a]", "{a}", "curly bracket"),
        (C4(min_sentences=0), "lorem", "Lorem Ipsum", "lorem ipsum"),
        (
            FineWeb(max_short_lines=1, max_newlines_per_word=9),
            "\n".join([*map(str, range(22)), "a.", "b?", "c!"]),
            "\n".join([*map(str, range(23)), "a.", "b?"]),
            "too few lines end in punctuation",
        ),
        (
            FineWeb(),
            "\n".join(["y. " + "x " * 13 + "z.", "short.", "small."]),
            "\n".join(["x " * 14 + "z.", "a.", "b.", "c."]),
            "too many short lines",
        ),
        (
            FineWeb(max_newlines_per_word=9, max_short_lines=1),
            "a" * 297 + ".\nb.\nb.\n" + "c" * 4,
            "a" * 147 + ".\nb.\nb.\n" + "c" * 4,
            "too many repeated lines",
        ),
        (FineWeb(max_short_lines=1), "a b c.\nd e f.\ng h i.\nj", "a b c.\nd e f.\ng h i.\nj\n.", "too many newlines"),
    ],
)
def test_a_rule_keeps_at_its_threshold_and_drops_beyond(rule, kept, dropped, why):
    assert reason(rule, kept) is None
    assert reason(rule, dropped) == why


LOOSE = dict.fromkeys(
    ("max_duplicate_lines", "max_duplicate_paragraphs", "max_duplicate_line_chars", "max_duplicate_paragraph_chars"), 1.0
) | {"max_top_ngram_chars": {}, "max_duplicate_ngram_chars": {}}


@pytest.mark.parametrize(
    ("option", "kept", "dropped", "why"),
    [
        ("max_duplicate_lines", "a\na\nb\nb\nc\nc\nd\ne\nf\ng", "a\na\nb\nb\nc\nc\nd\nd\ne\nf", "too many repeated lines"),
        ("max_duplicate_paragraphs", "a\n\na\n\nb\n\nb\n\nc\n\nc\n\nd\n\ne\n\nf\n\ng", "a\n\na\n\nb", "too many repeated paragraphs"),
        ("max_duplicate_line_chars", "ab\nab\nwxyz", "abc\nabc\nwx", "too many characters in repeated lines"),
        ("max_duplicate_paragraph_chars", "abc\n\nabc\n\nvwxyz", "abcd\n\nabcd\n\nvwx", "too many characters in repeated paragraphs"),
    ],
)
def test_a_share_of_repeated_parts_is_kept_at_its_threshold(option, kept, dropped, why):
    rule = GopherRepetition(**{name: value for name, value in LOOSE.items() if name != option})
    assert reason(rule, kept) is None
    assert reason(rule, dropped) == why


def test_the_most_frequent_ngram_may_cover_its_share():
    rule = GopherRepetition(**{**LOOSE, "max_top_ngram_chars": {2: 0.3}})
    assert reason(rule, "a b x a b " + "y" * 10) is None  # 2 * 3 of 20 characters
    assert reason(rule, "a b x a b " + "y" * 9) == "one 2-gram too often"


def test_repeated_ngrams_may_cover_their_share():
    rule = GopherRepetition(**{**LOOSE, "max_duplicate_ngram_chars": {5: 0.25}})
    assert reason(rule, "a b c d e a b c d e x") is None  # 5 of 21 characters
    assert reason(rule, "a b c d e a b c d e") == "too many repeated 5-grams"  # 5 of 19


def test_counts_of_repetition_by_hand():
    batch = Signals([Document("aa\nb\naa\naa"), Document("a b a b c"), Document("a b c"), Document("a b c a b c a b c")])
    assert (batch.line_parts.duplicates[0], batch.line_parts.duplicate_chars[0]) == (2, 4)
    assert batch.top_ngram_chars(2).tolist() == [0, 6, 0, 9]
    assert batch.duplicate_ngram_chars(3).tolist() == [0, 0, 0, 6]


def test_the_published_thresholds_are_the_defaults():
    rule = GopherRepetition()
    assert rule.max_top_ngram_chars == {2: 0.2, 3: 0.18, 4: 0.16}
    assert rule.max_duplicate_ngram_chars == {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}


RULES = [Length(), GopherQuality(), GopherRepetition(), C4(), FineWeb(), GopherQuality(min_words=0, min_stop_words=0)]


@settings(deadline=None, max_examples=50)  # the first call makes the tables
@given(st.lists(st.text(st.sampled_from("ab .\n-…#{é"), max_size=60), min_size=1, max_size=4))
def test_every_rule_answers_for_every_text_whatever_stands_beside_it_and_changes_nothing(texts):
    documents = [Document(text, "id", "source", {"a": 1}) for text in texts]
    for rule in RULES:
        answers = rule.judge(Signals(documents))
        assert answers == [reason_of(rule, document) for document in documents]
        assert all(answer is None or (isinstance(answer, str) and answer) for answer in answers)
        assert documents == [Document(text, "id", "source", {"a": 1}) for text in texts]


def test_options_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="max_bullet_lines"):
        GopherQuality(max_bullet_lines=1.5)
    assert build(Length, {"min_chars": 5}) == Length(min_chars=5)
