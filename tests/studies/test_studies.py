"""Every study that makes runs of its own, with its shipped recipe, so small that nothing can be learned: the path from text to page."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.nn.io_models import FILES, TOKENIZER, ours
from tests.tiny import _documents
from trivium.core.errors import DataError
from trivium.core.types import Document
from trivium.nn.io.directory import save_model
from trivium.stages.recipe import load_recipe
from trivium.studies import evidence
from trivium.studies.catalogue import STUDIES
from trivium.studies.evidence import trainings_of
from trivium.studies.run import run_study
from trivium.text.shards import _write_index, write_shard

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
SMALL = {"seq_len": 33, "batch_tokens": 4 * 33, "micro_batch_rows": 4, "steps": 4, "evaluate_every": 100, "preset": "pythia-156k"}
OWN = {
    "dedup": {"k": 3, "l": 2},
    "memorization": {"k": 3, "l": 2, "rows": 20},
    "order": {"k": 3, "l": 2, "group": 2},
    "term_frequency": {"first": 10, "second": 2},
    "batch_size": {"small": 2, "batches": 3},
}
PLANTED = {
    "plant": {"what": {"documents": 5}}, "plant_one": {}, "sums_zipf": {"what": {"documents": 60, "first": 10, "second": 2}},
    "sums_even": {"what": {"documents": 60, "first": 10, "second": 2}},
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    rows = [{"text": text, "id": f"document {number}"} for number, text in enumerate(_documents(120))]
    (folder / "text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def tiny_options(name: str, place: Path) -> dict:
    """What is put over the shipped recipe of a study."""
    [trial] = STUDIES[name]().trials("laptop")
    stages = load_recipe(trial.recipe, {}).stages
    options: dict = {"machine": MACHINE, **OWN[name]}
    for stage, what in stages.items():
        if what.kind == "pretrain":
            batch = SMALL["batch_tokens"] * what.batch_tokens // 516 if name == "batch_size" else SMALL["batch_tokens"]
            steps = 8 * SMALL["batch_tokens"] // batch if name == "batch_size" else SMALL["steps"]  # as many tokens each
            options[stage] = {**SMALL, "batch_tokens": batch, "steps": max(1, steps), "keep_every": 2 if what.keep_every else 0}
    options["prepare"] = {"sources": [str(place / "text.jsonl")], "heldout_share": 0.1}
    options["tokenize"] = {"vocab_size": 300}
    options |= {stage: what for stage, what in PLANTED.items() if stage in stages}
    if trial.recipe == "pythia-laptop":
        options["plant"] = {"what": {"count": 6, "words": 8, "repeats": [1, 3]}}
    return options


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_a_study_goes_from_text_to_page_and_a_second_time_does_nothing(name, place):
    options = tiny_options(name, place)
    facts, page = run_study(name, [], options, place / "runs", quiet=True)
    assert page.is_file()
    assert {control["is_positive"] for control in facts["controls"]} == {True, False}
    assert facts["outcome"] in ("seen", "not seen", "cannot tell", "controls failed")
    assert facts["table"]
    assert len((page.parent / "table.csv").read_text().splitlines()) == len(facts["table"]) + 1
    assert sorted(page.parent.glob("figure-*.svg"))
    [trial] = STUDIES[name]().trials("laptop")
    marks = {mark: mark.stat().st_mtime_ns for mark in (place / "runs" / trial.folder).glob("*/done.json")}
    assert run_study(name, [], options, place / "runs", quiet=True)[0] == facts
    assert {mark: mark.stat().st_mtime_ns for mark in marks} == marks
    if name in ("order", "batch_size"):
        again, _ = run_study(name, [place / "runs" / trial.folder], OWN[name], place / "mine", quiet=True)
        assert again["table"] == facts["table"]


def test_pairs_of_model_directories_need_only_a_held_out_text(tmp_path):
    for number in range(4):
        save_model(tmp_path / f"model {number}", ours("llama"), **FILES)
    write_shard(tmp_path / "heldout", [Document("the king said hello to the people of the land")] * 40, TOKENIZER)
    folders = [tmp_path / f"model {number}" for number in range(4)]
    with pytest.raises(DataError, match="has no held-out text; say which: heldout=FOLDER"):
        run_study("dedup", folders, {}, tmp_path / "out")
    facts, _ = run_study("dedup", folders, {"heldout": str(tmp_path / "heldout")}, tmp_path / "out")
    assert [row["difference"] for row in facts["table"]] == [0.0, 0.0]  # identical models
    assert facts["outcome"] == "seen"
    with pytest.raises(DataError, match="3 trainings do not make pairs"):
        run_study("dedup", folders[:3], {"heldout": str(tmp_path / "heldout")}, tmp_path / "out")


def test_a_model_directory_needs_the_rows_that_it_was_trained_on(tmp_path):
    save_model(tmp_path / "model", ours("gpt_neox"), **FILES)
    with pytest.raises(DataError, match="published=FOLDER/document"):
        run_study("order", [tmp_path / "model"], {}, tmp_path / "out")
    ids = np.random.default_rng(1).integers(0, TOKENIZER.vocab_size, (40, 17)).astype("<u2")
    (tmp_path / "document.bin").write_bytes(ids.tobytes())
    _write_index(tmp_path / "document.idx", np.full(len(ids), 17, np.int32), np.dtype("<u2"))
    options = {"published": str(tmp_path / "document"), "k": 3, "l": 2, "group": 8}
    facts, _ = run_study("order", [tmp_path / "model"], options, tmp_path / "out")
    assert [(row["rows"], row["groups"]) for row in facts["table"]] == [(40, 5)]
    assert facts["outcome"] == "cannot tell"
    facts, _ = run_study("emergent", [tmp_path / "model"], {"published": options["published"], "k": 3, "l": 2}, tmp_path / "out")
    assert facts["outcome"] == "cannot tell"


def test_a_model_directory_has_seen_the_rows_up_to_the_step_in_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "ROWS_PER_STEP", 8)
    ids = np.random.default_rng(1).integers(0, TOKENIZER.vocab_size, (40, 17)).astype("<u2")
    (tmp_path / "document.bin").write_bytes(ids.tobytes())
    _write_index(tmp_path / "document.idx", np.full(len(ids), 17, np.int32), np.dtype("<u2"))
    seen = {}
    for name in ("a/pythia-step3", "b/pythia-step3", "step-2", "step9", "pythia-160m"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save_model(tmp_path / name, ours("gpt_neox"), **FILES)
        [training] = trainings_of([tmp_path / name], str(tmp_path / "document"))
        seen[name] = training.num_rows, list(training.models)
        assert training.name == name.rpartition("/")[2]
        assert training.places(1000).max() == training.num_rows - 1
    assert seen == {
        "a/pythia-step3": (24, [3]), "b/pythia-step3": (24, [3]), "step-2": (16, [2]), "step9": (40, [9]), "pythia-160m": (40, [0]),
    }  # fmt: skip
    folders = [tmp_path / name for name in seen]
    assert [each.name for each in trainings_of(folders)] == [*map(str, folders[:2]), "step-2", "step9", "pythia-160m"]


@pytest.mark.parametrize("name", ["memorization", "batch_size", "term_frequency"])
def test_a_folder_that_is_no_run_is_named(name, tmp_path):
    with pytest.raises(Exception, match="is neither a run folder"):
        run_study(name, [tmp_path], {}, None)
