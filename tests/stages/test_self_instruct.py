"""`self_instruct` with a model whose lists are planted: what is kept, what is counted, and that a kill changes no byte."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.nn.io_models import FILES, SHAPES, TOKENIZER, ours
from trivium.core.errors import ConfigError, DataError
from trivium.core.interrupt import Interrupted
from trivium.core.run import Run
from trivium.core.seeds import generator
from trivium.core.types import Example
from trivium.generate.engine import Engine
from trivium.nn.io.directory import save_model
from trivium.nn.model import Model, initialise
from trivium.stages.recipe import single
from trivium.text.read import read_conversations

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
THINGS = ("ships", "bread", "stone", "night", "sea", "land", "kings", "water", "wood", "salt", "wool", "iron")
LEFT = ("self_instruct/chats/written.jsonl", "self_instruct/funnel.json", "self_instruct/written.json")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "base", initialise(Model(replace(SHAPES["llama"], max_seq_len=1 << 14)), 1), **FILES)
    monkeypatch.setattr(Engine, "generate", planted)
    planted.calls.clear()
    return tmp_path


def planted(self: Engine, prompts: Any, sampling: Any, *, numbers: Any, **options: Any) -> list[Example]:
    """For request n a list of two tasks that depends on n, then one that is malformed and one that is cut off."""
    planted.calls.append([TOKENIZER.decode(prompt, skip_special=False) for prompt in prompts])
    if planted.fails_at == len(planted.calls):
        raise Interrupted(9, "power loss")
    said = []
    for prompt, number in zip(prompts, numbers, strict=True):
        first = int(TOKENIZER.decode(prompt).rsplit("Instruction:", 1)[0].rsplit(".", 1)[0].split()[-1])
        one, two, *others = generator(3, "tasks", number).choice(THINGS, 7, replace=False)
        text = f" Contrast {one} with {' '.join(others)}.\n{first}. Input:\n<noinput>\n{first}. Output:\nFrom {one}.\n###\n"
        text += f"{first + 1}. Instruction: Draw {two} for me please\n{first + 1}. Input:\n{two}\n{first + 1}. Output:\nNo.\n###\n"
        text += f"{first + 2}. Nothing\n###\n{first + 3}. Instruction: cut"
        answer = TOKENIZER.encode(text)
        mask = np.concatenate([np.zeros(len(prompt)), np.ones(len(answer))]).astype(np.float32)
        said.append(Example(np.concatenate([prompt, answer]), mask, meta={"stopped": False}))
    return said


planted.calls, planted.fails_at = [], 0


def run(out: str = "out", **options: Any) -> list[dict[str, Any]]:
    stage = single("self_instruct", {"model": "base", "count": 6, "rows": 3, "requests": 60, **options}).stages["self_instruct"]
    stage.check()
    with Run(Path(out), quiet=True, machine=MACHINE) as running:
        assert running.begin("self_instruct", {})
        stage.run(running)
    return [json.loads(line) for line in (Path(out) / LEFT[0]).read_text().splitlines()]


def test_new_tasks_are_kept_until_there_are_enough_and_all_others_are_counted():
    rows = run()
    asked = [row["messages"][0]["content"] for row in rows]
    assert len(asked) == len(set(asked)) == 6  # the last is not the last of its round
    assert all(query.startswith("Contrast ") for query in asked)
    verdicts = json.loads(Path("out/self_instruct/written.json").read_text())["verdicts"]
    requests = verdicts["valid"] + verdicts.get("is like an earlier one", 0)
    assert verdicts["valid"] == len(asked)
    assert sum(map(len, planted.calls)) - 3 < requests <= sum(map(len, planted.calls))
    assert verdicts["has the word draw"] == verdicts["is not in the form that was shown"] == requests - 1
    assert [each.messages[1].content for each in read_conversations("out/self_instruct/chats/written.jsonl")][0].startswith("From ")


def test_a_kill_between_rounds_changes_no_byte():
    run("straight", own_shown=2, shown=2)
    total = len(planted.calls)
    planted.calls.clear()
    planted.fails_at = 2
    try:
        with pytest.raises(Interrupted):
            run("killed", own_shown=2, shown=2)
    finally:
        planted.fails_at = 0
    run("killed", own_shown=2, shown=2)
    assert len(planted.calls) == total + 1  # the round that was killed is asked for again, none before it
    for name in LEFT:
        assert (Path("killed") / name).read_bytes() == (Path("straight") / name).read_bytes()


def test_it_sees_some_of_its_own_tasks_when_there_are_some():
    run(own_shown=1)
    first, second = planted.calls[0], planted.calls[1]
    assert not any("Contrast" in prompt for prompt in first)
    assert all("Contrast" in prompt for prompt in second)
    assert all(prompt.count("Instruction:") == 5 for prompt in second)  # 3 seeds, one of its own, and the next


def test_a_base_model_goes_on_with_text():
    run(form="text")
    assert all(prompt.startswith("<|endoftext|>Write a list of 20") and prompt.endswith("4. Instruction:") for prompt in planted.calls[0])
    planted.calls.clear()
    run("chat")
    assert all(prompt.startswith("<|endoftext|><|user|>Write a list") for prompt in planted.calls[0])
    assert all(prompt.endswith("<|end|><|assistant|>4. Instruction:") for prompt in planted.calls[0])


def test_requests_end_it_and_that_is_said():
    run(count=500, requests=7)
    assert sum(map(len, planted.calls)) == 7
    assert "of 500 tasks after 7 requests" in Path("out/log.txt").read_text()


def test_a_mistake_is_one_line():
    with pytest.raises(ConfigError, match="'form' is 'both'"):
        run(form="both")
    Path("few.jsonl").write_text(json.dumps({"instruction": "Say hello now please.", "output": "Hello."}) + "\n")
    with pytest.raises(DataError, match="3 tasks are to be shown, but there are 1; lower shown"):
        run(seeds="few.jsonl")
    save_model(Path("short"), ours("llama"), **FILES)
    with pytest.raises(DataError, match=r"a request has [\d,]+ tokens, and the model reads 64"):
        run(model="short")
