"""Rounds: who is shown what, by hand; every text once; what is written depends on nothing but its number."""

from collections import Counter

import numpy as np
import pytest

from tests.synth.test_template import OURS, reading
from trivium.core.types import Example
from trivium.synth.forms import Form, drawn
from trivium.synth.rounds import TOO_LONG, Item, chains, runs, shown, synthesize
from trivium.synth.tally import Tally


def item(name: str, *, pairs: int = 1, follows: bool = False) -> Item:
    return Item(reading(name, *((f"{name} {number}?", "yes") for number in range(pairs))), follows)


@pytest.mark.parametrize(
    ("total", "rounds", "expected"),
    [
        (5, 2, [(0, 3), (1, 4), (2,)]),  # methods: blocks of 3 and 2, item 2 of the first is a text of its own
        (6, 3, [(0, 2, 4), (1, 3, 5)]),
        (4, 1, [(0,), (1,), (2,), (3,)]),
        (2, 5, [(0, 1)]),
        (1, 3, [(0,)]),
    ],
)
def test_chains_by_hand(total, rounds, expected):
    assert list(chains(lambda: range(total), total, rounds)) == expected


@pytest.mark.parametrize("total", [1, 7, 10, 23])
@pytest.mark.parametrize("rounds", [1, 2, 3, 5])
def test_every_text_is_in_one_chain(total, rounds):
    found = list(chains(lambda: range(total), total, rounds))
    assert sorted(number for chain in found for number in chain) == list(range(total))
    assert max(map(len, found)) <= rounds


def test_what_a_text_is_shown_goes_back_to_the_first_that_was_shown_nothing():
    assert shown([]) == []
    assert [each.context for each in shown([item("a"), item("b", follows=True)])] == ["a", "b"]
    assert [each.context for each in shown([item("a"), item("b")])] == ["b"]
    assert shown([item("a"), item("b", pairs=0)]) == []


def test_texts_that_follow_become_one_text():
    chain = [item("a"), item("b", follows=True), item("c", pairs=0), item("d"), item("e", follows=True)]
    assert [[each.context for each in run] for run in runs(chain)] == [["a", "b"], ["c"], ["d", "e"]]


class Parrot:
    """Answers `who? -> NAME`, the last word of the text; nothing to texts that end with `silent`."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.numbers: list[int] = []

    def __call__(self, prompts, numbers):
        answers = []
        for prompt in prompts:
            text = OURS.tokenizer.decode(prompt, skip_special=False)
            self.prompts.append(text)
            name = text.removesuffix(" </CON>\n\n").split()[-1]
            whole = OURS.example([reading("x", ("who?", name))]).tokens[len(OURS.prompt([], "x")) :]
            said = whole[-1:] if name == "silent" else whole
            mask = np.concatenate([np.zeros(len(prompt)), np.ones(len(said))]).astype(np.float32)
            answers.append(Example(np.concatenate([prompt, said]), mask))
        self.numbers += numbers
        return answers


def run(names, *, rounds=2, room=500):
    parrot = Parrot()
    parts = list(chains(lambda: enumerate(reading(name) for name in names), len(names), rounds))
    found = synthesize([[one for _, one in each] for each in parts], [[n for n, _ in each] for each in parts], OURS, parrot, room=room)
    return found, parrot


def test_a_later_round_sees_the_text_before_it_with_its_pairs():
    found, parrot = run(["first", "silent", "third", "last"])
    assert parrot.numbers == [0, 1, 2, 3]
    assert "first" in parrot.prompts[2]
    assert "<QUE> who? <ANS> first </END>" in parrot.prompts[2]
    assert "silent" not in parrot.prompts[3]  # it got no pair
    assert [[(each.reading.context, len(each.reading.pairs), each.follows) for each in chain] for chain in found] == [
        [("first", 1, False), ("third", 1, True)], [("silent", 0, False), ("last", 1, False)],
    ]  # fmt: skip


def test_without_room_it_starts_fresh_and_a_text_that_is_too_long_stays_raw():
    length = max(len(OURS.prompt([], name)) for name in ("first", "third", "last"))
    found, parrot = run(["first", "second " * 50, "third", "last"], room=length)
    assert [len(prompt.split("<CON>")) for prompt in parrot.prompts] == [2, 2, 2]
    assert [each.follows for chain in found for each in chain] == [False] * 4
    [gone] = found[1][0].dropped
    assert (gone.reason, found[1][0].reading.pairs) == (TOO_LONG, ())


def test_a_form_writes_every_text_once_and_is_the_same_for_the_same_seed():
    readings = [reading("the king", ("who {question}?", "a {answer}"), ("b?", "c")), reading("a land", ("d?", "e"), ("f?", "g"))]
    seen = set()
    for number in range(400):
        form = drawn(readings, 1, number)
        text = form(readings)
        seen.add(form.name.split()[0])
        assert text == drawn(readings, 1, number)(readings)
        assert text.count("the king") == text.count("a land") == 1
        assert all(text.count(part) == 1 for part in ("who {question}?", "a {answer}", "b?", "d?", "f?"))
    assert seen == {"classic", "dialogue", "list", "inverted"}
    assert {drawn(readings[:1], 2, number).name.split()[0] for number in range(50)} >= {"classic"}


def test_a_form_by_hand():
    form = Form("classic 1", "Q: {question}\nA: {answer}", "\n")
    assert (
        form([reading("x\n", ("a?", "b"), ("c?", "d")), reading("y", ("e?", "f"))]) == "x\n\nQ: a?\nA: b\nQ: c?\nA: d\n\ny\n\nQ: e?\nA: f"
    )


def test_a_list_is_drawn_only_where_every_text_has_two_pairs():
    one = [reading("x", ("a?", "b"))]
    assert "list" not in {drawn(one, 1, number).name.split()[0] for number in range(300)}


def test_layouts_come_as_often_as_was_said():
    """One in twenty each, and the rest classic; without a list where a text has one pair."""
    two, one = [reading("x", ("a?", "b"), ("c?", "d"))], [reading("x", ("a?", "b"))]
    error = (0.05 * 0.95 / 4000) ** 0.5
    for readings, layouts in ((two, {"dialogue", "list", "inverted"}), (one, {"dialogue", "inverted"})):
        names = Counter(drawn(readings, 3, number).name.split()[0] for number in range(4000))
        assert names.keys() == layouts | {"classic"}
        assert all(names[layout] / 4000 == pytest.approx(0.05, abs=4 * error) for layout in layouts)


def test_the_tally_counts_by_hand():
    tally = Tally()
    found, _ = run(["first", "silent", "third", "second " * 500])
    for each in (each for chain in found for each in chain):
        tally.count(each)
    assert (tally.texts, tally.texts_with_pairs, tally.follow, tally.pairs) == (4, 2, 1, 2)
    tally.count_document([reading("x", ("a?", "b"))], Form("classic 1", "Q: {question}\nA: {answer}", "\n"), "x\n\nQ: a?\nA: b")
    tally.count_document([reading("raw")], None, "raw")
    assert tally.instruction_share == len("Q: a?\nA: b") / (len("x\n\nQ: a?\nA: b") + 3)
    assert tally.funnel()["kept"] == {"documents": 2, "bytes": len("who?first" + "who?third")}
    assert tally.funnel()["read"]["documents"] == 3
    assert [(entry["reason"], entry["documents"]) for entry in tally.funnel()["dropped"]] == [(TOO_LONG, 1)]
    assert len(tally.funnel()["dropped"][0]["samples"][0]) == 600
