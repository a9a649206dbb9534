"""The code of docs/rewards.md does what it says."""

import json
import re
import tomllib
from hashlib import sha256
from pathlib import Path
from typing import get_args

import pytest
from pydantic import TypeAdapter

from trivium.core.types import Message
from trivium.score.code_tests import CodeTests
from trivium.score.rewards import AnyReward, Plugin, Said, checked

PAGE = (Path(__file__).parents[3] / "docs" / "rewards.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_every_kind_is_in_the_table():
    kinds = {member.kind for member in get_args(get_args(AnyReward)[0])}
    assert kinds == {word for line in re.findall(r"(?m)^\| (`.*?) \|", PAGE) for word in re.findall(r"`(\w+)`", line)}


@pytest.mark.parametrize("block", blocks("toml"))
def test_options_are_options(block, monkeypatch):
    assert TypeAdapter(tuple[AnyReward, ...]).validate_python(tomllib.loads(block)["rewards"])


def test_the_record_has_tests():
    [record] = blocks("json")
    assert len(CodeTests.of(json.loads(record)).tests) == 2


def test_the_function_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [function] = blocks("python")
    file = tmp_path / "my_rewards.py"
    file.write_text(function)
    opened = Plugin(function="my_rewards.py:score").open({str(file): sha256(file.read_bytes()).hexdigest()})
    answers = [Said((Message("user", "?"),), text, stopped, {"word": "lamp"}) for text, stopped in (("a lamp", True), ("a cat", False))]
    assert checked(opened, answers) == [1, -0.5]
