"""`evaluate` on a model of a few thousand weights."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from tests.nn.io_models import FILES, TEXTS, TOKENIZER, ours
from tests.score.chat_server import says, serving
from trivium.core.errors import ConfigError, DataError
from trivium.core.run import Run
from trivium.core.types import Document, Message
from trivium.nn.io.directory import save_model
from trivium.score.ranking.strengths import data_of, fit
from trivium.score.ranking.table import tabulate
from trivium.score.ranking.win_rate import win_rates
from trivium.score.rewards import Length, Said
from trivium.stages.evaluate import judged_scores
from trivium.stages.recipe import single
from trivium.text.read import read_matches
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
    assert judged_scores(Path("out/evaluate"), "length") == {"base": Length(max_words=1)(said)}
    assert judged_scores(Path("out/evaluate"), "code") == {}


def levelled(handler: Any, text: str) -> None:
    """Finds an answer clearly better that says gold where the other does not, and a little better one that is longer."""
    nonce = re.search(r"VERDICT (\w+) VALUE", text)[1]
    first, second = (text.split(f"{nonce} ANSWER {side}")[1].split(nonce)[0] for side in "AB")
    if ("gold" in first) != ("gold" in second):
        word = "A>>B" if "gold" in first else "B>>A"
    else:
        word = "A=B" if len(first) == len(second) else "A>B" if len(first) > len(second) else "B>A"
    says(f"VERDICT {nonce} {word}")(handler, text)


def test_arena_hard_is_a_weighed_win_rate_over_the_answers_of_a_file_and_what_rank_makes_of_its_judgements(tmp_path, monkeypatch):
    """Li et al. 2024, arXiv:2406.11939: both orders, clear verdicts three times; Bradley-Terry against one baseline is the same share."""
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "base", ours("llama"), **FILES)
    rows = [
        {"prompt": "king", "old": "gold"},
        {"prompt": "land", "old": ""},
        {"prompt": "sea", "old": "x" * 900},
        {"prompt": "x", "old": ""},
    ]
    Path("prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serving(levelled) as (url, asked):
        found = evaluated(tmp_path / "out", baseline="old", judge={"url": url, "model": "m", "levels": 5})
    assert len(asked) == 2 * 4
    said = [sample["response"] for sample in json.loads(Path("out/evaluate/samples.json").read_text())]
    games = [(0, 3), (0.5 if not said[1] else 1, 1), (0, 1), (0.5 if not said[3] else 1, 1)]  # (won, how often each of two counts)
    share = sum(2 * won * times for won, times in games) / sum(2 * times for _, times in games)
    rate = found["judge_win_rate"]
    assert (rate["value"], rate["n"]) == (pytest.approx(share), 4)
    assert 0 <= rate["low"] <= rate["value"] <= rate["high"] <= 1
    table = tabulate(read_matches(Path("out/evaluate/judgements.jsonl")))
    [ranked] = win_rates(table, "old")
    assert (ranked.model, ranked.raw) == ("base", pytest.approx(100 * share))
    gap = fit(data_of(table.first_N, table.second_N, table.score_N, 2)).weights_MD[:, 0]
    assert 1 / (1 + math.exp(gap[table.number("old")] - gap[table.number("base")])) == pytest.approx(share)


def test_a_baseline_needs_a_judge_and_an_answer_in_every_record(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "base", ours("llama"), **FILES)
    Path("prompts.jsonl").write_text('{"prompt": "king"}\n')
    options = {"models": {"base": "base"}, "prompts": "prompts.jsonl", "baseline": "old"}
    with pytest.raises(ConfigError, match="baseline is what a judge compares answers to prompts with"):
        single("evaluate", options).stages["evaluate"].check()
    with pytest.raises(DataError, match="line 1: .*'old'"):
        single("evaluate", options | {"judge": {"url": "http://localhost:1/v1", "model": "m"}}).stages["evaluate"].check()
