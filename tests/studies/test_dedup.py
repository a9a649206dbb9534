"""The study of deduplication on trainings of its own: the same corpus is no difference at all, and half of it one document is seen."""

import json
from pathlib import Path

import pytest

from tests.tiny import _documents
from trivium.core.errors import DataError
from trivium.report.intervals import mean_interval
from trivium.stages.pipeline import execute
from trivium.stages.recipe import load_recipe, recipe_of
from trivium.studies.dedup import HEADER, Dedup
from trivium.studies.evidence import trainings_of
from trivium.studies.held_out import heldout_shard, measured

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
MODEL = {
    "kind": "pretrain", "depth": 1, "width": 32, "head_dim": 16, "seq_len": 33, "context": 64, "batch_tokens": 33 * 16,
    "micro_batch_rows": 16, "steps": 100, "evaluate_every": 1000, "optimizer": {"kind": "adamw", "lr": 1e-2},
}  # fmt: skip
PLAIN, ONE = MODEL | {"tokens": "@tokenize"}, MODEL | {"tokens": "@tokenize_one"}
STAGES = {
    "prepare": {"heldout_share": 0.2, "filters": []},
    "tokenize": {"corpus": "@prepare/corpus", "vocab_size": 300},
    "plant_one": {"kind": "plant", "corpus": "@prepare/corpus", "what": {"kind": "copies", "share": 0.5, "documents": 1}},
    "tokenize_one": {"kind": "tokenize", "corpus": "@plant_one/corpus", "tokenizer": "@tokenize/tokenizer.json"},
    "raw_tiny": PLAIN, "dedup_tiny": PLAIN, "again_tiny": PLAIN, "one_tiny": ONE, "raw_short": PLAIN | {"steps": 4},
}  # fmt: skip


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run whose raw_tiny and dedup_tiny are trained on the same corpus, and one_tiny on one that is half one document."""
    folder = tmp_path_factory.mktemp("dedup")
    (folder / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in _documents(150)))
    stages = STAGES | {"prepare": STAGES["prepare"] | {"sources": [str(folder / "text.jsonl")]}}
    execute(recipe_of({"name": "dedup", "machine": MACHINE, "stages": stages}), folder / "run", quiet=True)
    return folder / "run"


def test_the_same_corpus_is_no_difference_and_one_document_for_half_of_it_is_seen(run):
    finding = Dedup(k=8, l=4).find([run])
    [row] = [dict(zip(HEADER, row, strict=True)) for row in finding.rows]
    assert row["pair"] == "run/raw_tiny / dedup_tiny"
    assert (row["difference"], row["low"], row["high"]) == (row["difference of bits"], row["bits low"], row["bits high"]) == (0, 0, 0)
    assert row["points with copies"] > 20  # it has learned something
    assert row["rows by heart with copies, %"] == row["rows by heart without, %"]
    assert row["by heart with: low"] <= row["rows by heart with copies, %"] < row["by heart with: high"]
    assert row["seconds with copies"] > 0
    assert [(control.is_positive, control.is_detected) for control in finding.controls] == [(False, False), (True, True)]
    named = {training.stage: training for training in trainings_of([run])}
    shard = heldout_shard(named["dedup_tiny"])
    whole, one = (measured(named[stage].model, named[stage], shard) for stage in ("dedup_tiny", "one_tiny"))
    assert mean_interval((one.bits_N - whole.bits_N).tolist())[1] > 0  # worse in bits per byte too


def test_a_pair_that_saw_different_numbers_of_tokens_is_refused(run, tmp_path):
    for name in ("raw_tiny", "raw_short"):
        (tmp_path / name).mkdir()
        for part in ("prepare", "tokenize", name, "run.toml", "metrics.jsonl"):
            (tmp_path / name / part).symlink_to(run / part)
    with pytest.raises(DataError, match=r"were trained on 52,800 and 2,112 tokens; the study compares models of as many"):
        Dedup().find([tmp_path / "raw_tiny", tmp_path / "raw_short"])


def test_the_arms_of_the_recipe_differ_in_what_they_read_alone():
    stages = load_recipe("dedup", {}).stages
    sizes = [name.removeprefix("raw_") for name in stages if name.startswith("raw_")]
    assert len(sizes) == 3
    for size in sizes:
        raw, deduplicated = stages[f"raw_{size}"], stages[f"dedup_{size}"]
        assert raw.tokens != deduplicated.tokens
        assert type(raw)(**{**vars(raw), "tokens": deduplicated.tokens}) == deduplicated
