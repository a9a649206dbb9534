"""`evaluate` on a model of a few thousand weights."""

import json
from pathlib import Path

import pytest

from tests.nn.io_models import FILES, TEXTS, TOKENIZER, ours
from trivium.core.run import Run
from trivium.core.types import Document, Message
from trivium.nn.io.directory import save_model
from trivium.score.rewards import Length, Said
from trivium.stages.recipe import single
from trivium.text.shards import write_shard

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}


def evaluated(out: Path, **options: object) -> dict[str, dict[str, float]]:
    stage = single("evaluate", {"models": {"base": "base"}, "prompts": "prompts.jsonl", "sampling": {"max_new_tokens": 4}, **options})
    with Run(out, quiet=True, machine=MACHINE) as run:
        run.begin("evaluate", {})
        stage.stages["evaluate"].run(run)
    return {row["measure"]: row for row in json.loads((out / "evaluate" / "results.json").read_text())}


def test_several_texts_are_measured_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "base", ours("llama"), **FILES)
    Path("prompts.jsonl").write_text(json.dumps({"prompt": "king", "asked": "king"}) + "\n")
    for name, text in (("law", TEXTS[0]), ("news", TEXTS[1])):
        write_shard(tmp_path / name / "heldout", [Document(text)] * 9, TOKENIZER)
    both = evaluated(tmp_path / "both", tokens={"law": "law", "news": "news"}, seq_len=32)
    assert both["bits_per_byte_law"]["value"] == evaluated(tmp_path / "one", tokens="law", seq_len=32)["bits_per_byte"]["value"]
    assert both["bits_per_byte_news"]["value"] != both["bits_per_byte_law"]["value"]


def test_true_scores_are_left_for_every_prompt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "base", ours("llama"), **FILES)
    Path("prompts.jsonl").write_text("".join(json.dumps({"prompt": word, "asked": word}) + "\n" for word in ("king", "land", "sea")))
    found = evaluated(tmp_path / "out", rule={})
    scores = json.loads((tmp_path / "out" / "evaluate" / "scores.json").read_text())
    assert len(scores["base"]) == 3
    assert found["true_score"]["value"] == pytest.approx(sum(scores["base"]) / 3)


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
