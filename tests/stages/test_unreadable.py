"""Records that cannot be read stop a stage, or are left out and counted, as its option says."""

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
