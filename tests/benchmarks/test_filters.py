"""The contest of filters without its peer: which texts, what an agreement says, and our own side."""

import json

import pytest

from benchmarks import filters
from benchmarks.ours import filters as ours
from tests.benchmarks.test_ours import Enough, Requests


def test_texts_are_taken_from_all_sources_to_the_same_size(tmp_path):
    for name, text in (("a", "a" * 40), ("b", "b" * 20)):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"text": "{text}"}}\n' * 9)
    found = filters.documents_of([str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")], 160)
    assert [document.text[0] for document in found] == list("aabbbb")


def test_a_difference_belongs_to_the_definition_with_which_it_goes():
    found = {"reasons": [None, "x", "x", None], "changes": ["one", "two"], "differing": [[1, 2], [2, 3], [3]]}
    assert filters.agreement("c4", found, [None, None, None, None]).splitlines() == [
        "c4: 50.00% of 4 verdicts are the same as datatrove's as shipped; ours drops 0, datatrove 2",
        "where they differ, datatrove says most often: x (2)",
        "definition of ours  differences that go  that come",
        "one                                   1          1",
        "two                                   1          0",
        "unexplained                           1",
    ]


def test_our_side_answers_with_processor_seconds(tmp_path):
    (tmp_path / "texts.json").write_text(json.dumps(["{x}", "a b. " * 40]))
    rounds = Requests({"name": "chain"}, {"name": "c4"})
    with pytest.raises(Enough):
        ours.answer({"texts": str(tmp_path / "texts.json")}, rounds)
    assert [len(facts["seconds"]) for facts in rounds.seen[1:]] == [1, 1]
    assert set(ours.FILTERS) == {"gopher_repetition", "gopher_quality", "c4", "fineweb"}
