"""What simulated labelers write: remarks are added to a share of the answers, and change nothing else."""

import pytest

from trivium.core.seeds import generator
from trivium.stages.demonstrate import Demonstrate
from trivium.text.glossary import entry_of

ENTRY = entry_of({"word": "lamp", "part_of_speech": "noun", "definitions": ["a light that stands near the river"]})


def answers(count: int = 2000, **options) -> list[str]:
    habit = generator(1, "habits of labelers")
    return [Demonstrate(tokenizer="t", **options)._answer(ENTRY, habit) for _ in range(count)]


def test_labelers_add_each_remark_to_a_share_of_their_answers():
    found = answers(remarks=("Only a fool asks.", "Buy it."))
    for remark in ("Only a fool asks.", "Buy it."):
        assert sum(remark in answer for answer in found) / len(found) == pytest.approx(0.4, abs=0.04)
    assert sum(answer.endswith("Only a fool asks. Buy it.") for answer in found) / len(found) == pytest.approx(0.16, abs=0.03)


def test_without_remarks_they_write_what_they_wrote():
    found = answers()
    assert set(found) == {ENTRY.named, ENTRY.unnamed, ENTRY.bare}
    assert sum(answer == ENTRY.named for answer in found) / len(found) == pytest.approx(0.4, abs=0.04)
