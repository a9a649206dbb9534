import pytest

from trivium.text.glossary import entry_of, sentence


def record(word, part, text):
    return {"word": word, "part_of_speech": part, "definitions": [text]}


@pytest.mark.parametrize(
    ("word", "part", "text", "question", "named"),
    [
        ("axiom", "noun", "A truth that needs no proof.", "What is an axiom?", "An axiom is a truth that needs no proof."),
        ("abate", "v. t.", "To make less; to lower.", "What does it mean to abate?", "To abate is to make less."),
        ("loyal", "adjective", "Faithful to a friend", "What does the word loyal mean?", "The word loyal means faithful to a friend."),
    ],
)
def test_an_entry_asks_and_answers_in_words(word, part, text, question, named):
    entry = entry_of(record(word, part, text))
    assert (entry.question, entry.named) == (question, named)
    assert f" {word}" in entry.question  # the same characters with a space before them stand in the answer
    assert f" {word} " in entry.named
    assert word not in entry.unnamed
    assert entry.bare == f"{entry.definition[0].upper()}{entry.definition[1:]}."


@pytest.mark.parametrize(
    ("word", "part", "text"),
    [
        ("quickly", "adverb", "In a quick way of moving."),  # no question is made for adverbs
        ("Paris", "noun", "A city in the north."),  # a name
        ("ox", "noun", "A large farm animal."),  # too short a word
        ("axiom", "noun", "Self-evident truth of a kind."),  # a noun's definition begins with an article
        ("abate", "verb", "Made less than before it."),  # a verb's with `to`
        ("axiom", "noun", "A truth."),  # too short
        ("axiom", "noun", "A truth (see Logic) of a kind."),  # brackets
    ],
)
def test_what_cannot_be_asked_plainly_is_left_out(word, part, text):
    assert entry_of(record(word, part, text)) is None


def test_only_the_first_clause_is_answered():
    entry = entry_of(record("axiom", "noun", "A truth that needs no proof; as, the axioms of logic."))
    assert entry.named == "An axiom is a truth that needs no proof."


@pytest.mark.parametrize(
    ("word", "part", "text", "said"),
    [
        ("abacus", "noun", "A table.", "An abacus is a table."),
        ("abacus", "noun", "Used for sums", "The word abacus means used for sums."),
        ("abate", "verb", "To lower!", "To abate is to lower!"),
        ("Abel", "proper noun", "A son of Adam.", "The word Abel means a son of Adam."),
    ],
)
def test_every_definition_becomes_a_sentence_that_names_its_word(word, part, text, said):
    assert sentence(word, part, text) == said
