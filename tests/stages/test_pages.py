"""Pages of facts as files: every answer stands in its text, and no text is in two files."""

import json

import pytest

from trivium.core.errors import ConfigError
from trivium.core.run import Run
from trivium.stages.base import Foresight
from trivium.stages.recipe import single
from trivium.text.read import read_conversations, read_documents, read_prompts, read_readings

SIZES = {"num_readings": 30, "num_raw": 20, "num_demonstrations": 10, "num_heldout": 12, "facts_per_page": 3}


def pages(folder, **options):
    stage = single("pages", {**SIZES, **options}).stages["pages"]
    stage.check()
    with Run(folder, quiet=True) as run:
        run.begin("pages", {})
        facts = stage.run(run)
    return folder / "pages/pages", facts


def test_questions_are_answered_in_words_of_the_text_and_no_text_is_in_two_files(tmp_path):
    folder, facts = pages(tmp_path)
    assert facts == {"heldout": 12, "readings": 30, "demonstrations": 10, "raw": 20}
    read = list(read_readings(folder / "readings.jsonl"))
    assert all(len(each.pairs) == 3 and all(pair.answer in each.context for pair in each.pairs) for each in read)
    asked = [each.messages for each in read_conversations(folder / "demonstrations.jsonl")]
    assert all(answer.content in question.content for question, answer in asked)
    waiting = [prompt[-1].content for prompt in read_prompts(folder / "heldout.jsonl")]
    answers = [json.loads(line)["answer"] for line in (folder / "heldout.jsonl").read_text().splitlines()]
    assert all(answer in text for answer, text in zip(answers, waiting, strict=True))
    texts = [each.context for each in read] + [each.text for each in read_documents(folder / "raw.jsonl")]
    texts += [question.content.split("\n\n")[0] for question, _ in asked] + [text.split("\n\n")[0] for text in waiting]
    assert len(texts) == len(set(texts)) == 72


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    one, other = (pages(tmp_path / name)[0] for name in ("one", "other"))
    for part in ("readings", "raw", "demonstrations", "heldout"):
        assert (one / f"{part}.jsonl").read_bytes() == (other / f"{part}.jsonl").read_bytes()


def test_what_follows_knows_how_many_there_are():
    known = Foresight()
    single("pages", SIZES).stages["pages"].foresee("pages", known)
    assert known.num_prompts["@pages/pages/raw.jsonl"] == 20
    assert known.num_heldout == 12


def test_a_page_needs_two_facts(tmp_path):
    with pytest.raises(ConfigError, match="'facts_per_page' is 1"):
        pages(tmp_path, facts_per_page=1)
    with pytest.raises(ConfigError, match="'num_raw' is 10000000"):
        pages(tmp_path, num_raw=10_000_000)
