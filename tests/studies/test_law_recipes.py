"""Studies of scaling, gender, abstention and diversity, with their shipped recipes, so small that nothing can be learned: text to page."""

import json
from pathlib import Path

import pytest

from tests.tiny import _documents
from trivium.stages.recipe import load_recipe
from trivium.studies.catalogue import STUDIES
from trivium.studies.run import run_study

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
ROWS = {"seq_len": 33, "batch_tokens": 132, "micro_batch_rows": 4, "evaluate_every": 100, "evaluate_rows": 16}
TUNE = {"steps": 60, "batch_size": 8, "seq_len": 64, "micro_batch_rows": 4}
PEOPLE = {"abstention": {"known": 12, "unknown": 12}, "diversity": {"known": 30}}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("laws")
    rows = [{"text": f"{text} He said that his lamp was old.", "id": str(number)} for number, text in enumerate(_documents(120))]
    (folder / "text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def tiny_options(name: str, place: Path) -> dict:
    """What is put over the shipped recipe of a study."""
    options: dict = {"machine": MACHINE, "prepare": {"sources": [str(place / "text.jsonl")], "heldout_share": 0.1}}
    options["tokenize"] = {"vocab_size": 300}
    for stage, what in load_recipe(name, {}).stages.items():
        if what.kind == "pretrain":
            options[stage] = {**ROWS, "depth": 1, "width": 16 * (1 + what.width // 32), "head_dim": 16, "context": 128}
            options[stage]["steps"] = what.steps // 60 if name == "scaling" else 10
        elif what.kind == "finetune":
            options[stage] = TUNE
        elif what.kind == "reinforce":
            options[stage] = {"phases": 1, "prompts_per_phase": 4, "seq_len": 64, "micro_batch_rows": 4, "answers": 2}
        elif what.kind == "facts":
            options[stage] = PEOPLE[name]
        elif what.kind == "sample":
            options[stage] = {"answers": 2, "rows": 16, "sampling": {"max_new_tokens": 8}, "missing_end_penalty": 0.0}
    return options


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scaling", "gender", "abstention"])
def test_a_study_goes_from_text_to_a_page_and_repeats_nothing(name, place):
    facts, page = run_study(name, [], tiny_options(name, place), place / name, quiet=True)
    assert facts["study"] == name
    assert facts["table"]
    assert page.is_file()
    marks = {file: file.stat().st_mtime_ns for file in (place / name).rglob("done.json")}
    assert marks
    again, _ = run_study(name, [], tiny_options(name, place), place / name, quiet=True)
    assert again == facts
    assert {file: file.stat().st_mtime_ns for file in (place / name).rglob("done.json")} == marks
    if name == "gender":
        same = [control for control in facts["controls"] if control["name"].startswith("the same words")]
        assert [control["is_detected"] for control in same] == [False]  # the same bits


def test_the_studies_are_in_the_catalogue():
    assert {"stock", "scaling", "gender", "abstention", "diversity", "emergent"} <= STUDIES.keys()
