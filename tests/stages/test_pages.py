"""Pages of a dictionary: every answer stands in its page, and no word is in two files."""

import json

import pytest

from trivium.core.errors import ConfigError, DataError
from trivium.core.run import Run
from trivium.stages.recipe import single
from trivium.text.read import read_conversations, read_documents, read_prompts, read_readings

KINDS = ("small", "quiet", "old", "green", "heavy")
ENTRIES = [
    {"word": f"{first}{second}", "part_of_speech": "noun", "definitions": [f"a {kind} {first} of {second}"]}
    for first in ("bal", "dor", "mis", "ten") for second in ("ruk", "lav", "pim") for kind in KINDS[:1]
]  # fmt: skip
SIZES = {"num_readings": 2, "num_raw": 2, "num_demonstrations": 1, "num_heldout": 1, "words_per_page": 2}


def pages(folder, **options):
    (folder / "words.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in ENTRIES))
    stage = single("pages", {"dictionary": str(folder / "words.jsonl"), **SIZES, **options}).stages["pages"]
    stage.check()
    with Run(folder / "out", quiet=True) as run:
        run.begin("pages", {})
        facts = stage.run(run)
    return folder / "out/pages/pages", facts


def test_questions_are_answered_in_words_of_the_page_and_no_word_is_in_two_files(tmp_path):
    folder, facts = pages(tmp_path)
    assert facts == {"heldout": 1, "readings": 2, "demonstrations": 1, "raw": 2}
    read = list(read_readings(folder / "readings.jsonl"))
    assert [len(each.pairs) for each in read] == [4, 4]
    assert all(pair.answer in each.context for each in read for pair in each.pairs)
    [demonstration] = read_conversations(folder / "demonstrations.jsonl")
    asked, answer = (message.content for message in demonstration.messages)
    assert answer in asked
    [heldout] = read_prompts(folder / "heldout.jsonl")
    assert json.loads((folder / "heldout.jsonl").read_text())["answer"] in heldout[0].content
    words = {entry["word"] for entry in ENTRIES}
    pages_of = [each.context for each in read] + [asked, heldout[0].content] + [each.text for each in read_documents(folder / "raw.jsonl")]
    found = [word for text in pages_of for word in words if word in text.split("?")[0].split()]
    assert len(found) == len(set(found)) == 12


def test_too_few_words_are_said_with_what_to_do(tmp_path):
    with pytest.raises(DataError, match="has 12 words that can be asked for, 7 pages need 14; raise max_words, or lower num_raw"):
        pages(tmp_path, num_raw=3)


def test_a_page_needs_two_words(tmp_path):
    with pytest.raises(ConfigError, match="'words_per_page' is 1"):
        pages(tmp_path, words_per_page=1)
