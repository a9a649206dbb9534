"""`sample keep=steps` on a model whose every continuation is known, so that what a step is worth can be counted."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.nn.io_models import TOKENIZER, logits
from tests.stages.conftest import teach
from trivium.core.errors import ConfigError, DataError
from trivium.core.interrupt import Interrupted
from trivium.core.run import Run
from trivium.core.types import Message
from trivium.generate.engine import Engine
from trivium.nn.io.directory import load_model
from trivium.stages.base import Foresight
from trivium.stages.recipe import single
from trivium.text.chat import PLAIN, render
from trivium.text.read import read_solutions

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
SAID = ["the king; 1", "the king; 1", "the king; 1", "the king; 2", "a user; 1", "a user; 2", "a user; 2", "a user; 2"]
SAMPLED = {
    "model": "model", "prompts": "prompts.jsonl", "answers": 8, "rows": 64, "rewards": [{"kind": "numeric"}], "missing_end_penalty": 0.0,
    "sampling": {"max_new_tokens": 20}, "keep": {"kind": "steps", "separator": ";", "rollouts": 100},
}  # fmt: skip
LEFT = ("sample/answers/kept.jsonl", "sample/answers/scored.jsonl", "sample/selection.json")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return teach(tmp_path_factory.mktemp("steps") / "model", [("say", said) for said in SAID])


@pytest.fixture(autouse=True)
def place(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model").symlink_to(model)
    Path("prompts.jsonl").write_text('{"prompt": "say", "answer": "1"}\n' * 2)


def run(out: str = "out", **options: Any) -> list[dict[str, Any]]:
    stage = single("sample", SAMPLED | options).stages["sample"]
    stage.check()
    with Run(Path(out), quiet=True, machine=MACHINE) as running:
        assert running.begin("sample", {})
        stage.run(running)
    return [json.loads(line) for line in (Path(out) / LEFT[0]).read_text().splitlines()]


def chance(model: Path, step: str, answer: str) -> float:
    """How likely the model is to end with this answer once it has said the step: the product of its own probabilities."""
    rendered = render((Message("user", "say"), Message("assistant", f"{step}; {answer}")), TOKENIZER, PLAIN)
    end = int(np.flatnonzero(rendered.loss_mask)[-1]) + 1
    first = next(at for at in range(end) if TOKENIZER.decode(rendered.tokens[: at + 1]).endswith(";"))
    ids = torch.tensor(rendered.tokens[:end].tolist())
    log_p = logits(load_model(model), ids[None])[0].detach().double().log_softmax(-1)
    return float(sum(log_p[at, ids[at + 1]] for at in range(first, end - 1)).exp())


def test_a_step_is_worth_how_likely_the_model_is_to_arrive_from_it(model):
    rows = run()
    worth = {row["steps"][0]: row["labels"][0] for row in rows if ";".join(row["steps"]) in SAID}
    assert set(worth) == {"the king", "a user"}
    for step, taught in (("the king", 0.75), ("a user", 0.25)):
        truth = chance(model, step, "1")
        assert truth == pytest.approx(taught, abs=0.1)
        assert worth[step] == pytest.approx(truth, abs=3 * (0.25 / 100) ** 0.5)
    assert all(row["labels"][-1] == row["score"] == float(row["steps"][-1].endswith("1")) for row in rows)
    assert max(Counter(tuple(row["steps"]) for row in rows).values()) <= 2  # to two prompts; the same text is one solution


def test_the_hard_estimate_is_whether_any_arrives_and_needs_no_new_rollouts(monkeypatch):
    soft = run()
    monkeypatch.setattr(Engine, "generate", None)
    again = {"model": "", "prompts": "", "rewards": [], "scored": "out/sample/answers/scored.jsonl"}
    hard = run("hard", **again, keep=SAMPLED["keep"] | {"estimate": "hard"})
    assert [row["labels"] for row in hard] == [[float(label > 0) for label in row["labels"]] for row in soft]
    assert run("soft", **again) == soft


def test_a_kill_between_pieces_changes_no_byte_and_nothing_depends_on_the_pieces(monkeypatch):
    options = {"keep": SAMPLED["keep"] | {"rollouts": 4}}
    run("large", **options)
    monkeypatch.setattr("trivium.stages.computing.answering.ROUNDS", 0)  # a prompt a piece
    generate, calls = Engine.generate, []

    def counted(self: Engine, *arguments: Any, **more: Any) -> Any:
        calls.append(more["purpose"])
        if len(calls) == 4:
            raise Interrupted(15, "power loss")
        return generate(self, *arguments, **more)

    monkeypatch.setattr(Engine, "generate", counted)
    with pytest.raises(Interrupted):
        run("killed", **options)
    run("killed", **options)
    assert calls == ["sample", "sample steps"] * 2 + ["sample", "sample steps"]
    for name in LEFT:
        assert (Path("killed") / name).read_bytes() == (Path("large") / name).read_bytes()


def test_a_process_reward_model_learns_from_what_is_kept():
    run(keep=SAMPLED["keep"] | {"rollouts": 4})
    found = list(read_solutions("out/sample/answers/kept.jsonl"))
    assert 2 in {len(each.steps) for each in found}
    learned = {"model": "model", "data": "out/sample/answers/kept.jsonl", "steps": 2, "batch_size": 2, "seq_len": 64}
    learned["heldout"] = learned["data"]
    stage = single("reward", learned | {"objective": {"kind": "process", "separator": ";"}}).stages["reward"]
    stage.check()
    with Run(Path("next"), quiet=True, machine=MACHINE) as running:
        running.begin("reward", {})
        stage.run(running)
    assert json.loads((Path("next") / "metrics.jsonl").read_text().splitlines()[-1])["loss"] > 0


def test_a_mistake_is_one_line():
    with pytest.raises(ConfigError, match="all rollouts from a step would be the same"):
        run(answers=1, sampling={"temperature": 0})
    with pytest.raises(ConfigError, match="keep steps chooses by scores"):
        run(rewards=[])
    Path("plain.jsonl").write_text('{"prompt": [{"role": "user", "content": "x"}], "responses": ["a"], "scores": [1], "stopped": [true]}\n')
    with pytest.raises(DataError, match="keeps none of 1 answers .1 prompt: no answer that ended by itself has steps"):
        run(model="", prompts="", rewards=[], scored="plain.jsonl")


def test_the_plan_says_that_rollouts_come_on_top():
    work = single("sample", SAMPLED).stages["sample"].foresee("sample", Foresight())
    assert work.notes == ("100 rollouts from each step come on top",)
