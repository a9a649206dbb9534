"""The recipe `smollm2` with a model of a few thousand weights in its place: every stage reads what those before it leave."""

import json
from pathlib import Path

import pytest

from tests.nn.tiny import tiny_config
from trivium.stages.base import Foresight
from trivium.stages.pipeline import execute
from trivium.stages.recipe import load_recipe

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
WRITE = {"asking": {"max_new_tokens": 20}, "answering": {"temperature": 0, "max_new_tokens": 16}, "rows": 16}
FILTERS = ({"kind": "valid"}, {"kind": "length", "min_answer_words": 1, "min_words": 2}, {"kind": "repetition"})
TRAIN = {"seq_len": 64, "micro_batch_rows": 4, "lora": {"r": 2}}
TASK = """
about = "Kings."
data = "kings.jsonl"
prompt = "the king of"
[scoring]
kind = "choices"
choices = "choices"
gold = "0"
"""


def tiny_options(model: str, task: str) -> dict:
    """What is put over the shipped recipe."""
    options: dict = {"machine": MACHINE}
    options["magpie"] = {"model": model, "count": 24, **WRITE}
    options["asked"] = {"model": model, "count": 6, **WRITE}
    options["curate"] = {"filters": [*FILTERS, {"kind": "near_duplicates", "model": model, "min_distance": 0.01}]}
    options["finetune"] = {"model": model, "steps": 2, "batch_size": 2, **TRAIN}
    options["sample"] = {"answers": 8, "rows": 16, "sampling": {"max_new_tokens": 4, "temperature": 2.0}}
    options["prefer"] = {"steps": 2, "batch_size": 2, **TRAIN}
    options["arithmetic"] = {"num_prompts": 8, "num_heldout": 4}
    options["reinforce"] = {"phases": 2, "prompts_per_phase": 2, "answers": 4, "sampling": {"max_new_tokens": 8}, **TRAIN}
    options["evaluate"] = {"tasks": [task], "limit": 2, "sampling": {"max_new_tokens": 8}, "seq_len": 64, "models": {"before": model}}
    options["answers"] = {"sampling": {"max_new_tokens": 8}, "seq_len": 64, "models": {"before": model}}
    return options


@pytest.mark.slow
def test_every_stage_of_the_recipe_reads_what_those_before_it_leave(taught, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("kings.toml").write_text(TASK)
    Path("kings.jsonl").write_text('{"choices": [" the land", " 12 ships"]}\n' * 2)
    recipe = load_recipe("smollm2", tiny_options(str(taught), "kings.toml"))
    execute(recipe, tmp_path / "out", quiet=True)
    results = json.loads((tmp_path / "out/results.json").read_text())
    found = {(row["stage"], row["measure"]) for row in results}
    for model in ("before", "finetune", "prefer", "reinforce"):
        assert {(model, measure) for measure in ("numeric_score", "repetition_score", "stop_rate", "kings: acc")} <= found
    assert all(row["low"] <= row["value"] <= row["high"] for row in results if row["low"] is not None)
    for stage in ("finetune", "prefer", "reinforce"):
        assert (tmp_path / "out" / stage / "adapter" / "adapter_config.json").is_file()


def test_the_plan_knows_how_many_prompts_earlier_stages_leave():
    known, stages = Foresight(), load_recipe("smollm2", {}).stages
    known.models |= dict.fromkeys(("finetune", "prefer", "reinforce"), tiny_config())
    for name in ("magpie", "curate", "asked", "arithmetic"):
        if name in ("curate", "arithmetic"):
            stages[name].foresee(name, known)
        else:
            known.num_prompts[f"@{name}/chats/written.jsonl"] = stages[name].count
    assert stages["sample"].foresee("sample", known).tokens_generated == 400 * 4 * 256
    known.num_prompts["@curate/chats/kept.jsonl"] = 7
    assert stages["sample"].foresee("sample", known).tokens_generated == 7 * 4 * 256


def test_every_model_of_the_recipe_is_the_chat_model_or_made_of_it():
    recipe = load_recipe("smollm2", {})
    named = {stage.model for stage in recipe.stages.values() if hasattr(stage, "model") and stage.model}
    assert named == {"smollm2", "@finetune/model", "@prefer/model"}
    assert list(recipe.stages["evaluate"].models) == list(recipe.stages["answers"].models) == ["before", "finetune", "prefer", "reinforce"]
