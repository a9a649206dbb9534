"""Sums that can be checked."""

import json
from pathlib import Path

import pytest

from trivium.core.errors import ConfigError
from trivium.core.run import Run
from trivium.core.types import Message
from trivium.score.rewards import Numeric, Said
from trivium.stages.arithmetic import worked
from trivium.stages.base import Foresight
from trivium.stages.recipe import single


def sums(out: Path, **options: int) -> dict[str, list[dict]]:
    stage = single("arithmetic", options).stages["arithmetic"]
    stage.check()
    with Run(out, quiet=True) as run:
        run.begin("arithmetic", {})
        stage.run(run)
    return {path.stem: [json.loads(line) for line in path.read_text().splitlines()] for path in (out / "arithmetic/sums").glob("*.jsonl")}


def test_every_answer_is_right_and_no_sum_is_in_two_files(tmp_path):
    parts = sums(tmp_path, largest=9, num_demonstrations=20, num_prompts=20, num_heldout=15)
    assert {name: len(rows) for name, rows in parts.items()} == {"demonstrations": 20, "prompts": 20, "heldout": 15}
    seen = []
    for rows in parts.values():
        for row in rows:
            first, second = (int(word.strip("?")) for word in row["messages"][0]["content"].split() if word.strip("?").isdigit())
            assert int(row["answer"]) == first + second
            seen.append(frozenset((first, second)))
    assert len(set(seen)) == 55  # all there are
    shown = parts["demonstrations"][0]
    said = Said((Message("user", "x"),), shown["messages"][1]["content"], True, shown)
    assert Numeric()([said]) == [1]
    assert all(len(row["messages"]) == 1 for row in parts["prompts"])


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (2, 3, "2 + 3 + 0 = 5, so 5."),
        (8, 7, "8 + 7 + 0 = 15, so 15."),
        (27, 25, "7 + 5 + 0 = 12, 2 + 2 + 1 = 5, so 52."),
        (4, 99, "4 + 9 + 0 = 13, 0 + 9 + 1 = 10, so 103."),
    ],
)
def test_the_working_carries(first, second, text):
    assert worked(first, second) == text


def test_the_seed_decides_which(tmp_path):
    assert sums(tmp_path / "a", num_prompts=5) == sums(tmp_path / "b", num_prompts=5)


def test_more_sums_than_there_are_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="1,800 different sums are wanted, but numbers up to 9 give 55; raise largest"):
        sums(tmp_path, largest=9)


def test_later_stages_foresee_how_many_there_are():
    known = Foresight()
    single("arithmetic", {"num_prompts": 7}).stages["arithmetic"].foresee("easy", known)
    assert known.num_prompts["@easy/sums/prompts.jsonl"] == 7
