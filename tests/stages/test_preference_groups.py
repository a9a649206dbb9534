"""Which pairs a ranking gives."""

import json

import pytest

from trivium.core.types import example
from trivium.stages.computing.preference_groups import pairs_of
from trivium.text.read import read_preferences


def answer(*tokens, rank):
    return example(tokens, rank=[rank] * len(tokens))


@pytest.mark.parametrize(
    ("group", "num_pairs"),
    [
        ((answer(1, 2, rank=0), answer(1, 3, rank=1)), 1),
        ((answer(1, 2, rank=0), answer(1, 3, rank=0)), 0),  # a tie
        ((answer(1, 2, rank=0), answer(1, 2, rank=1)), 0),  # other texts, the same tokens
        ((answer(1, 2, rank=0), answer(1, 2, rank=0), answer(1, 3, rank=1)), 2),
    ],
)
def test_equal_answers_and_ties_make_no_pair(group, num_pairs):
    pairs = pairs_of(group, 4, seed=0, number=0)
    assert len(pairs) == num_pairs
    assert all(better.columns["rank"][0] < worse.columns["rank"][0] for better, worse in pairs)


def test_what_was_chosen_and_rejected_alike_is_a_tie(tmp_path):
    said = "\n\nHuman: q\n\nAssistant: a"
    (tmp_path / "a.jsonl").write_text(json.dumps({"chosen": said, "rejected": said}))
    [preference] = read_preferences(tmp_path / "a.jsonl")
    assert preference.ranks == (0, 0)
