"""Items of tasks in a corpus."""

from trivium.core.types import Document
from trivium.evals.contamination import contamination
from trivium.evals.task import Item

LONG = "the quick brown fox jumps over the lazy dog while seven wise owls watch it closely"


def item(number, text):
    return Item(number, "", {"question": text, "gold": 0}, text)


def test_items_that_stand_in_the_corpus_are_counted_and_named():
    items = [item(0, "short"), item(3, LONG), item(7, LONG.replace("seven", "nine"))]
    corpus = [Document("nothing to see here at all", "a"), Document(f"He wrote: {LONG.upper()}!", "b")]
    facts, numbers = contamination({"animals": items}, corpus)
    assert numbers == {"animals": {3}}
    assert facts["animals"]["items"] == 3
    assert (facts["animals"]["hit_items"], facts["animals"]["documents"], facts["animals"]["too_short"]) == (1, 1, 1)
    assert facts["animals"]["samples"][0]["id"] == "b"
