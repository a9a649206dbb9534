"""`evaluate` on a model of a few thousand weights."""

import json
from pathlib import Path

import pytest

from tests.nn.io_models import FILES, ours
from trivium.core.run import Run
from trivium.core.types import Message
from trivium.nn.io.directory import save_model
from trivium.score.rewards import Length, Said
from trivium.stages.recipe import single

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}


def test_rules_are_measured_each_by_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "base", ours("llama"), **FILES)
    rows = [{"prompt": word, "answer": word} for word in ("king", "land", "sea")]
    Path("prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rules = [{"kind": "exact"}, {"kind": "length", "max_words": 1, "weight": 7.0}]
    options = {"models": {"base": "base"}, "prompts": "prompts.jsonl", "rewards": rules, "sampling": {"max_new_tokens": 12}}
    stage = single("evaluate", options).stages["evaluate"]
    stage.check()
    with Run(Path("out"), quiet=True, machine=MACHINE) as run:
        run.begin("evaluate", {})
        stage.run(run)
    found = {row["measure"]: row for row in json.loads(Path("out/evaluate/results.json").read_text())}
    samples = json.loads(Path("out/evaluate/samples.json").read_text())
    said = [Said((Message("user", "x"),), sample["response"], sample["stopped"], {}) for sample in samples]
    assert found["length_score"]["value"] == pytest.approx(sum(Length(max_words=1)(said)) / 3)
    assert (found["exact_score"]["value"], found["exact_score"]["n"]) == (0, 3)
    assert 0 < found["exact_score"]["high"] < 1  # a share, whose interval is not empty
