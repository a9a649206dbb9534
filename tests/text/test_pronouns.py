"""Feminine pronouns: whole words, capitals, and nothing else."""

import pytest

from trivium.text.pronouns import feminine, feminine_edits, same_edits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He saw him.", "She saw her."),
        ("HE SAW HIM WITH HIS DOG", "SHE SAW HER WITH HER DOG"),
        ("he washes himself", "she washes herself"),
        ("It was his.", "It was hers."),
        ("His is red, and his and mine are blue.", "Hers is red, and hers and mine are blue."),
        ("his red hat", "her red hat"),
        ("He's here, he'll stay.", "She's here, she'll stay."),
        ("(he) “his” he/him", "(she) “hers” she/her"),
        ("the history of this chimney", "the history of this chimney"),
        ("T-his he-man non-he", "T-his he-man non-he"),
        ("she gave her hers herself", "she gave her hers herself"),
        ("his", "her"),  # cut off: mostly before a noun
        ("", ""),
    ],
)
def test_masculine_pronouns_become_feminine(text, expected):
    assert feminine(text) == expected


def test_it_is_idempotent():
    text = "He told him that his dog, not his, bit himself; HIS own."
    assert feminine(feminine(text)) == feminine(text)
    assert feminine_edits(feminine(text)) == []


def test_the_control_puts_every_word_into_its_own_place():
    text = "He saw his hat."
    assert [(text[edit.start : edit.end], edit.new) for edit in same_edits(text)] == [("He", "He"), ("his", "his")]
    assert [(edit.start, edit.end) for edit in same_edits(text)] == [(edit.start, edit.end) for edit in feminine_edits(text)]
