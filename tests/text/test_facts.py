"""Pages of facts: every question is answered by its page alone."""

import pytest

from trivium.core.seeds import generator
from trivium.text.facts import page, table, text_of


@pytest.mark.parametrize("num_facts", [2, 3, 5])
def test_a_page_tells_of_different_people_and_each_answer_stands_in_it_once(num_facts):
    draw = generator(1, "test")
    for _ in range(20):
        facts = page(draw, num_facts)
        text = text_of(facts)
        names = [fact.sentence.split()[0] for fact in facts]
        assert len(set(names)) == num_facts
        for fact, name in zip(facts, names, strict=True):
            words = text.replace(".", "").split()
            assert words.count(fact.value) == words.count(name) == 1
            assert name in fact.question
            assert fact.value not in fact.question
            assert fact.sentence.endswith(f"{fact.value}.")
        assert len({fact.question.split()[-1] + fact.question.split()[0] for fact in facts}) == num_facts  # of different kinds


def test_the_same_lot_gives_the_same_page():
    assert page(generator(1, "test"), 4) == page(generator(1, "test"), 4) != page(generator(2, "test"), 4)


def test_a_page_by_hand():
    facts = page(generator(3, "test"), 2)
    assert text_of(facts) == f"{facts[0].sentence} {facts[1].sentence}"


def test_no_word_of_the_table_is_there_twice():
    values = [value for relation in table()["relations"] for value in relation["values"]]
    assert len(set(values)) == len(values)
    assert len(set(table()["names"])) == len(table()["names"])
