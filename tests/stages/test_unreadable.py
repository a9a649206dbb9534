"""Records that cannot be read stop a stage, or are left out and counted, as its option says."""

import gzip
import json

import pytest

from trivium.core.errors import DataError
from trivium.core.run import Run
from trivium.stages.base import gather
from trivium.stages.finetune import Finetune
from trivium.stages.prefer import Prefer
from trivium.stages.reward import Reward
from trivium.text.read import read_conversations


@pytest.fixture
def chats(tmp_path):
    rows = [{"instruction": "hi", "output": 5}, {"instruction": "hi", "output": "hello"}, {"nothing": 1}, {"prompt": "a", "response": "b"}]
    (tmp_path / "chats.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n{")
    return tmp_path / "chats.jsonl"


def test_they_are_left_out_counted_and_the_first_is_named(chats, tmp_path):
    with Run(tmp_path / "run", quiet=True) as run:
        found = gather(lambda on_skip: read_conversations(chats, on_skip), run, "skip")
    assert [item.messages[-1].content for item in found] == ["hello", "b"]
    assert (
        f"left out 3 records that cannot be read; the first: {chats} line 1: 'output' is a number" in (tmp_path / "run/log.txt").read_text()
    )


def test_a_file_that_ends_too_early_is_named_and_read_up_to_there(chats, tmp_path):
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(chats.read_bytes())[:-4])
    with Run(tmp_path / "run", quiet=True) as run:
        found = gather(lambda on_skip: read_conversations(cut, on_skip), run, "skip")
    assert [item.messages[-1].content for item in found] == ["hello", "b"]
    said = (tmp_path / "run/log.txt").read_text()
    assert f"{cut}: is truncated; copy or download it again; the file is read up to there" in said
    assert f"left out 2 records that cannot be read; the first: {cut} line 1" in said


@pytest.mark.parametrize(
    ("content", "problem"), [("[1]\n{}\n", "first of 2 errors: .*bad.jsonl line 1: is a list"), ("", "there is no record")]
)
def test_none_that_can_be_read_stops_it_in_any_case(tmp_path, content, problem):
    (tmp_path / "bad.jsonl").write_text(content)
    with Run(tmp_path / "run", quiet=True) as run, pytest.raises(DataError, match=problem):
        gather(lambda on_skip: read_conversations(tmp_path / "bad.jsonl", on_skip), run, "skip")


def test_the_first_one_stops_it_otherwise(chats, tmp_path):
    with Run(tmp_path / "run", quiet=True) as run, pytest.raises(DataError, match=rf"^{chats} line 1: 'output'"):
        gather(lambda on_skip: read_conversations(chats, on_skip), run, "stop")


@pytest.mark.parametrize("stage", [Finetune, Prefer, Reward])
def test_the_head_of_a_file_is_no_reason_to_stop_then(chats, tmp_path, monkeypatch, stage):
    monkeypatch.setattr(f"{stage.__module__}.check_model", lambda _: None)
    (tmp_path / "good.jsonl").write_text(json.dumps({"prompt": "a", "chosen": "b", "rejected": "c"}))
    options = {"model": "m", "data": str(chats), "steps": 1} | ({"heldout": str(tmp_path / "good.jsonl")} if stage is Reward else {})
    stage(**options, unreadable="skip").check()
    with pytest.raises(DataError, match="line 1"):
        stage(**options).check()
