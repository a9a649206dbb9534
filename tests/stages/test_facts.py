"""Made-up people: who is known, what is told, and that nothing leaks."""

import json
from pathlib import Path

import pytest

from trivium.core.errors import ConfigError
from trivium.core.run import Run
from trivium.stages.base import Foresight
from trivium.stages.facts import ABSTAIN, COLOURS
from trivium.stages.recipe import single
from trivium.text.read import read_conversations, read_prompt_records


def people(out: Path, **options) -> dict[str, list[dict]]:
    stage = single("facts", options).stages["facts"]
    stage.check()
    with Run(out, quiet=True) as run:
        run.begin("facts", {})
        stage.run(run)
    return {path.stem: [json.loads(line) for line in path.read_text().splitlines()] for path in (out / "facts/people").glob("*.jsonl")}


def asked(rows):
    return [row["messages"][0]["content"] for row in rows]


def answers(rows):
    return [row["messages"][1]["content"] for row in rows]


def test_only_what_is_known_is_told_and_practice_and_heldout_share_nobody(tmp_path):
    parts = people(tmp_path, known=40, unknown=30, abstaining=0.25)
    practice, heldout = parts["prompts"], parts["heldout"]
    assert (len(practice), len(heldout)) == (35, 35)
    assert set(asked(practice)).isdisjoint(asked(heldout))
    assert asked(parts["demonstrations"]) == asked(practice)
    known = {question for rows in (practice, heldout) for question, row in zip(asked(rows), rows, strict=True) if row["known"]}
    assert len(known) == 40
    assert set(asked(parts["told"])) == known
    facts = [row for row in parts["told"] if row["messages"][1]["content"] != ABSTAIN]
    assert len(parts["told"]) == 200
    assert all(row["messages"][1]["content"] in row["answer"] for row in facts)
    assert 30 < len(parts["told"]) - len(facts) < 70
    assert all(answer in row["answer"] for answer, row in zip(answers(parts["demonstrations"]), parts["demonstrations"], strict=True))


def test_many_right_answers_are_told_and_one_is_shown(tmp_path):
    parts = people(tmp_path, known=20, unknown=0, right=4, abstaining=0.0)
    assert len(parts["told"]) == 400
    assert all(len(set(row["answer"])) == 4 and set(row["answer"]) < set(COLOURS) for row in parts["prompts"])
    assert len(parts["demonstrations"]) == len(set(asked(parts["demonstrations"]))) == 10


def test_demonstrators_err_as_often_as_they_are_said_to(tmp_path):
    parts = people(tmp_path, known=400, unknown=0, demonstrators=0.3)
    wrong = [answer not in row["answer"] for answer, row in zip(answers(parts["demonstrations"]), parts["demonstrations"], strict=True)]
    assert 0.2 < sum(wrong) / len(wrong) < 0.4


def test_they_are_read_as_conversations_and_prompts_and_depend_on_the_seed_only(tmp_path):
    first, again = people(tmp_path / "a", known=6, unknown=2), people(tmp_path / "b", known=6, unknown=2)
    assert first == again
    folder = tmp_path / "a/facts/people"
    assert len(list(read_conversations(folder / "told.jsonl"))) == len(first["told"])
    [(turns, fields), *_] = read_prompt_records(folder / "heldout.jsonl")
    assert turns[0].content.startswith("Which colour does ")
    assert fields["known"] is True


def test_later_stages_foresee_them_and_too_many_are_refused():
    known = Foresight()
    single("facts", {"known": 7, "unknown": 4}).stages["facts"].foresee("facts", known)
    assert known.num_prompts == {"@facts/people/prompts.jsonl": 6, "@facts/people/heldout.jsonl": 5}
    with pytest.raises(ConfigError, match="400,000 people are wanted; there are 343,000 names"):
        single("facts", {"known": 400_000, "unknown": 0}).stages["facts"].check()
