"""`magpie` on a model that knows four conversations: it writes them by itself, in pieces that a kill does not change."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.nn.io_models import FILES, TOKENIZER, ours
from tests.stages.conftest import KNOWN
from trivium.core.errors import ArtefactError, ConfigError
from trivium.core.interrupt import Interrupted
from trivium.core.run import Run
from trivium.generate.engine import Engine
from trivium.nn.io.directory import save_model
from trivium.stages.base import Foresight
from trivium.stages.recipe import single
from trivium.text.read import read_conversations, read_prompts

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
SHORT = {"asking": {"max_new_tokens": 20}, "answering": {"temperature": 0, "max_new_tokens": 16}}
LEFT = ("magpie/chats/written.jsonl", "magpie/results.json", "magpie/funnel.json", "magpie/written.json")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("trivium.stages.computing.dialogues.ROUNDS", 1)  # so that a piece is as many conversations as rows
    return tmp_path


def run(model: Path | str, out: str = "out", **options: Any) -> list[dict[str, Any]]:
    """Run the stage, from its last piece if there is one; the conversations that it leaves."""
    stage = single("magpie", {"model": str(model), "count": 40, "rows": 16, **SHORT, **options}).stages["magpie"]
    stage.check()
    with Run(Path(out), quiet=True, machine=MACHINE) as running:
        assert running.begin("magpie", {})
        stage.run(running)
    return [json.loads(line) for line in (Path(out) / LEFT[0]).read_text().splitlines()]


def left(name: str, out: str = "out") -> Any:
    return json.loads((Path(out) / "magpie" / name).read_text())


def test_a_model_writes_the_queries_that_it_knows_and_answers_them(taught):
    """Xu et al. 2024: most of what is written is of the distribution that the model was taught; of instructions here three in four."""
    rows = run(taught, count=64)
    asked = Counter(row["messages"][0]["content"] for row in rows)
    assert sum(asked[query] for query in KNOWN) >= 0.8 * 64
    assert set(asked) >= set(KNOWN)
    right = [row["messages"][1]["content"] == KNOWN.get(row["messages"][0]["content"]) for row in rows]
    assert np.mean(right) >= 0.8
    [result] = left("results.json")
    instructions = sum(asked[query] for query in KNOWN if query != "it said that.")
    assert (result["stage"], result["measure"], result["n"]) == ("magpie", "valid_share", 64)
    assert result["value"] == pytest.approx(instructions / 64, abs=0.1)
    assert result["low"] < result["value"] < result["high"]


def test_what_is_left_is_what_the_next_stages_read_and_the_report_shows(taught):
    rows = run(taught)
    assert [len(each.messages) for each in read_conversations("out/magpie/chats/written.jsonl")] == [2] * len(rows)
    assert [each[0].role for each in read_prompts("out/magpie/chats/written.jsonl")] == ["user"] * len(rows)
    funnel, written = left("funnel.json"), left("written.json")
    assert funnel["read"]["documents"] == 40
    assert funnel["kept"]["documents"] == len(rows)
    assert sum(entry["documents"] for entry in funnel["dropped"]) == 40 - len(rows)
    assert sum(written["verdicts"].values()) == len(written["shown"]) == 40
    assert written["verdicts"]["asks for nothing"] == sum(each["verdict"] == "asks for nothing" for each in written["shown"])


def test_a_model_that_was_taught_nothing_writes_no_instructions(tmp_path):
    """The negative control: it is told as a share, and no error."""
    save_model(tmp_path / "base", ours("llama"), **FILES)
    rows = run("base")
    [result] = left("results.json")
    assert result["value"] < 0.2
    assert len(rows) < 8
    assert left("written.json")["verdicts"]["the query does not end"] > 20


def test_a_kill_between_pieces_changes_no_byte(taught, monkeypatch):
    run(taught, "straight", turns=2)
    generate, calls = Engine.generate, []

    def counted(self: Engine, *arguments: Any, **options: Any) -> Any:
        calls.append((options["purpose"], list(options["numbers"])[:1]))
        if len(calls) == 7:  # 4 calls a piece: queries and answers of two turns
            raise Interrupted(9, "power loss")
        return generate(self, *arguments, **options)

    monkeypatch.setattr(Engine, "generate", counted)
    with pytest.raises(Interrupted):
        run(taught, "killed", turns=2)
    assert not (Path("killed") / LEFT[0]).exists()
    run(taught, "killed", turns=2)
    assert [purpose for purpose, _ in calls[7:]] == [f"magpie {word} {turn}" for turn in (0, 1) for word in ("query", "answer")] * 2
    for name in LEFT:
        assert (Path("killed") / name).read_bytes() == (Path("straight") / name).read_bytes()


def test_a_damaged_piece_is_made_again(taught):
    rows = run(taught)
    piece = Path("out/magpie/checkpoints/piece-000001/rows.jsonl")
    piece.write_bytes(piece.read_bytes()[:-9])
    assert run(taught) == rows
    told = Path("out/log.txt").read_text()
    assert "this piece is made again" in told
    assert [int(count) for count in re.findall(r"conversations of a model: (\d+) in \d+ s, [\d.]+ a second", told)] == [40, 16]


def test_what_is_written_does_not_depend_on_the_pieces(taught):
    assert run(taught, "one") == run(taught, "other", rows=64)


def test_the_first_step_sees_the_template_alone_and_the_second_what_was_said(taught, monkeypatch):
    asked: dict[str, list[str]] = {}
    generate = Engine.generate

    def seen(self: Engine, prompts: Any, *arguments: Any, **options: Any) -> Any:
        asked[options["purpose"]] = [TOKENIZER.decode(prompt, skip_special=False) for prompt in prompts]
        return generate(self, prompts, *arguments, **options)

    monkeypatch.setattr(Engine, "generate", seen)
    rows = run(taught, count=12, turns=2, domains={"plain": "", "sums": "You teach sums."})
    assert asked["magpie query 0"] == ["<|endoftext|><|user|>", "<|endoftext|><|system|>You teach sums.<|end|><|user|>"] * 6
    first = [f"<|endoftext|><|user|>{row['messages'][0]['content']}<|end|><|assistant|>" for row in rows]
    assert set(first) <= set(asked["magpie answer 0"])
    assert all("Continue as the user" in prompt and prompt.endswith("<|end|><|user|>") for prompt in asked["magpie query 1"])
    assert not any("<|system|>" in prompt for prompt in (*asked["magpie answer 0"], *asked.get("magpie answer 1", ())))
    assert {row["domain"] for row in rows} <= {"plain", "sums"}


def test_a_mistake_is_one_line(taught):
    with pytest.raises(ArtefactError, match="nowhere: is no model directory"):
        run("nowhere")
    with pytest.raises(ConfigError, match="'turns' is 0"):
        run(taught, turns=0)
    with pytest.raises(ConfigError, match=r"did you mean 'answering'"):
        run(taught, answerin={})


def test_the_plan_counts_what_is_written_at_most(taught):
    known = Foresight()
    stage = single("magpie", {"model": str(taught), "count": 40, "turns": 2, **SHORT}).stages["magpie"]
    assert stage.foresee("magpie", known).tokens_generated == 40 * 2 * (20 + 16)
    assert known.num_prompts == {"@magpie/chats/written.jsonl": 40}
